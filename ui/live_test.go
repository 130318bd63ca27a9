package ui

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/incident"
)

// broken is a stage whose storage is gone.
type broken struct{ Duties }

func (broken) Assess(context.Context, string) (duty.Assessment, error) {
	return duty.Assessment{}, errors.New("no such table: duty")
}

// message is one server-sent event.
type message struct{ id, name, data string }

// follow opens the stream of a page; the channel closes when it ends.
func (v visitor) follow(t *testing.T, path string) <-chan message {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.base+"/live?path="+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Last-Event-ID", "77")
	res, err := v.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("stream: %d %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	out := make(chan message, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(out)
		defer res.Body.Close()
		var m message
		sc := bufio.NewScanner(res.Body)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			name, value, _ := strings.Cut(sc.Text(), ": ")
			switch name {
			case "id":
				m.id = value
			case "event":
				m.name = value
			case "data":
				m.data += value + "\n"
			case "":
				out <- m
				m = message{}
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return out
}

// next waits for a message that satisfies ok.
func next(t *testing.T, in <-chan message, what string, ok func(message) bool) message {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case m, open := <-in:
			if !open {
				t.Fatalf("the stream ended before %s", what)
			}
			if ok(m) {
				return m
			}
		case <-limit:
			t.Fatalf("no %s", what)
		}
	}
}

func regionsIn(m message) bool { return m.name == "" && m.data != "" }

func TestStreamDeliversWhatChanged(t *testing.T) {
	h := newHouse().inCourse()
	v, live := h.open(t)
	in := v.as("responder").follow(t, "/incidents/in-1")
	next(t, in, "beat", func(m message) bool { return m.name == "beat" && strings.TrimSpace(m.data) == "14:05" })
	first := next(t, in, "first state", regionsIn)
	for _, id := range []string{"room-head", "room-entries", "room-actions", "room-duties"} {
		if !strings.Contains(first.data, `<hx-partial hx-target="#`+id+`"`) {
			t.Errorf("the first state lacks %s", id)
		}
	}
	if _, err := (incidentsOf{h}).Write(t.Context(), "in-1", incident.NewEntry{Text: "新しい記録", Certainty: incident.Fact}, auth.Person{ID: "pe-approver"}); err != nil {
		t.Fatal(err)
	}
	live.Notify("incident.entry", "callcentre")
	m := next(t, in, "the new entry", regionsIn)
	if !strings.Contains(m.data, "新しい記録") || strings.Contains(m.data, `#room-duties"`) {
		t.Errorf("got %s", m.data)
	}
}

func TestStreamIsInTheReadersLanguageAndRights(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	en := next(t, v.as("responder").follow(t, "/incidents/in-1%3Flang=en"), "state", regionsIn)
	if !strings.Contains(en.data, "Commander") {
		t.Error("the stream is not in English")
	}
	c := next(t, v.as("contractor").follow(t, "/incidents/in-1"), "state", regionsIn)
	if strings.Contains(c.data, "isolate?host=") || strings.Contains(c.data, "/actions/ac-1") {
		t.Error("a contractor's stream shows what its page does not")
	}
}

func TestStreamEndsWithTheSession(t *testing.T) {
	h := newHouse().inCourse()
	v, live := h.open(t)
	r := v.as("responder")
	in := r.follow(t, "/alerts/al-1")
	next(t, in, "state", regionsIn)
	if err := (peopleOf{h}).Disable(t.Context(), "pe-responder", auth.Person{}); err != nil {
		t.Fatal(err)
	}
	live.Notify("alert.acked", "callcentre")
	next(t, in, "the end", func(m message) bool { return m.name == "gone" })
	for range in { // drained until the server closes it
	}
	if got := r.get("/live?path=/alerts/al-1"); got.status != http.StatusUnauthorized {
		t.Errorf("a new stream: %d", got.status)
	}
}

func TestStreamsOfPagesThatDoNotChange(t *testing.T) {
	v, _ := newHouse().open(t)
	r := v.as("responder")
	for _, path := range []string{"/login", "/nowhere", "/incidents/in-1/facts", "/live"} {
		if got := r.get("/live?path=" + path); got.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}

func TestNotifyWakesWhomItConcerns(t *testing.T) {
	l := NewLive()
	all, own := l.listen([]string{"alert"}, ""), l.listen([]string{"alert"}, "callcentre")
	woken := func(p *listener) bool {
		select {
		case <-p.wake:
			return true
		default:
			return false
		}
	}
	for name, tt := range map[string]struct {
		topic, site string
		all, own    bool
	}{
		"own site":      {"alert.raised", "callcentre", true, true},
		"another site":  {"alert.raised", "hospital", true, false},
		"all sites":     {"alert", "", true, true},
		"another topic": {"action.approved", "callcentre", false, false},
	} {
		l.Notify(tt.topic, tt.site)
		l.Notify(tt.topic, tt.site) // never waits for a reader
		if a, o := woken(all), woken(own); a != tt.all || o != tt.own {
			t.Errorf("%s: all %v own %v, want %v %v", name, a, o, tt.all, tt.own)
		}
		if woken(all) || woken(own) {
			t.Errorf("%s: two changes were not made one", name)
		}
	}
	l.leave(own)
	l.Close()
	select {
	case <-all.end:
	default:
		t.Error("Close did not end the stream")
	}
	if l.listen([]string{"alert"}, "") != nil {
		t.Error("a closed Live takes new listeners")
	}
}
