package view

import (
	"testing"

	"github.com/sonae/sonae/event"
)

// A connection that a process opened reads as one that the packets told of; of
// an accepted one the other side is who opened it.
func TestConnectionsOfProcessesInWords(t *testing.T) {
	p := Page{Lang: "en", Names: Names{Host: func(id string) string { return id }}}
	for want, initiated := range map[string]string{"pc talked to 198.51.100.7:443 (curl)": "true", "192.0.2.1:40000 connected to pc (curl)": "false"} {
		got := Sentence(p, event.Event{Host: "pc", Kind: event.KindProcess, Product: "linux", Category: "network_connection", Fields: map[string]string{
			event.FieldImage: "/usr/bin/curl", event.FieldInitiated: initiated, event.FieldSrcIP: "192.0.2.1", event.FieldSrcPort: "40000", event.FieldDstIP: "198.51.100.7", event.FieldDstPort: "443"}})
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
