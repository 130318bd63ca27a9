package detect

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sonae/sonae/event"
)

func TestParcelsFitIntoMessages(t *testing.T) {
	const most = 64 << 10
	var all []Finding
	for i := range 40 {
		all = append(all, Finding{ID: fmt.Sprint("small", i), Events: []event.Event{{ID: "e", Raw: strings.Repeat("x", 5000), Fields: map[string]string{"Image": "/bin/a"}}}})
	}
	hostile := map[string]string{"Image": "/bin/evil"}
	for i := range 5000 {
		hostile[fmt.Sprint("F", i)] = strings.Repeat("<", 500)
	}
	long := event.Event{ID: "e", Raw: strings.Repeat("<", 1<<20), Fields: map[string]string{"Image": strings.Repeat("あ", 1<<18), "User": "tanaka"}}
	all = append(all, Finding{ID: "long", Events: []event.Event{long}}, Finding{ID: "many", Events: []event.Event{{ID: "e", Fields: hostile}, long, long}})

	groups, err := Parcels(all, most)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, g := range groups {
		b, err := json.Marshal(g)
		if err != nil || len(b) > 2*most {
			t.Errorf("a group of %d bytes, %v", len(b), err)
		}
		for _, f := range g {
			ids = append(ids, f.ID)
		}
	}
	if len(ids) != len(all) || ids[0] != "small0" || ids[41] != "many" {
		t.Errorf("%d findings came out, want %d in their order", len(ids), len(all))
	}
	if f := groups[0][0]; f.Events[0].Raw == "" {
		t.Error("an event that fits was cut")
	}
	last := groups[len(groups)-1]
	if f := last[len(last)-2]; f.Events[0].Fields["User"] != "tanaka" || len(long.Raw) == 0 {
		t.Errorf("what is short was lost: %v", f.Events[0].Fields["User"])
	}
}
