package hubtest

import (
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Idle waits until every join has handled all messages, as the hub's own
// metrics say.
func (h *Hub) Idle() {
	h.t.Helper()
	h.Await("the bus to be empty", func() bool {
		joins, waiting := 0, 0.0
		for line := range strings.Lines(h.metrics()) {
			if !strings.HasPrefix(line, "sonae_bus_waiting_messages") || strings.Contains(line, `"dead"`) {
				continue
			}
			_, value, _ := strings.Cut(line, "} ")
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				h.t.Fatalf("metric %q: %v", line, err)
			}
			joins++
			waiting += n
		}
		return joins > 0 && waiting == 0
	})
}

func (h *Hub) metrics() string {
	h.t.Helper()
	res, err := http.Get(h.Local + "/metrics")
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		h.t.Fatalf("metrics: %s %v", res.Status, err)
	}
	return string(b)
}
