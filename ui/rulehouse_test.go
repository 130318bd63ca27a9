package ui

import (
	"errors"
	"log/slog"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/rules"
	"github.com/sonae/sonae/detect/tuning"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/search"
	"github.com/sonae/sonae/state"
)

// packs are rules that people put into the folder of the house. The first is
// the one of the alert in the story.
func packs() fstest.MapFS {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	return fstest.MapFS{
		"sigma/share.yml": file(`title: File sharing client or its traffic
id: 5f0f7a52-2b6a-4d57-9a0e-6d5d6b0b7a11
status: test
description: A program that shares files with strangers, seen by its name or by its traffic.
references:
  - https://example.org/sharing?a=1&b=<2>
author: 'Ärzte & <b>Co</b>'
license: DRL 1.1
date: 2025-01-02
modified: 2026-03-04
tags: [attack.exfiltration, attack.t1048]
logsource: {product: sonae, category: network_connection, definition: the sensor of the agent}
detection:
  program:
    Image|endswith: [/transmission-daemon, \qbittorrent.exe, \utorrent.exe]
  traffic:
    Application|contains: torrent
    RemoteIp|cidr: 203.0.113.0/24
    BytesSent|gt: 1000
  inside:
    - RemoteIp|cidr: [10.0.0.0/8, 192.168.0.0/16]
    - User|startswith: <b>admin
  condition: (program or traffic) and not inside
falsepositives: [Distribution of Linux images, "Research <with> leave"]
level: high
`),
		"sigma/many.yml": file(`title: Many refused connections
id: many-1
author: A. Uthor
level: low
logsource: {product: sonae, service: flow}
detection:
  words: ["refused", "denied"]
  condition: words
threshold: {count: 20, window: 10m, by: [User], distinct: RemoteIp}
`),
		"sigma/aix.yml":   file("title: Odd log-in on AIX\nid: aix-1\nlevel: critical\nlogsource: {product: aix, service: auth}\ndetection:\n  s: {User|exists: true}\n  condition: s\n"),
		"sigma/hush.yml":  file("title: Kernel messages\nid: hush-2\nlevel: info\nlogsource: {product: linux}\ndetection:\n  s: {Unit: kernel}\n  condition: s\n"),
		"sigma/wrong.yml": file("title: Wrong\nid: wrong-1\nlogsource: {product: linux}\ndetection:\n  s: {F|nearly: x}\n  condition: s\n"),
	}
}

// withRules gives the house a rulebook that has seen the events of the story,
// with a suppression, another level and a disabled rule.
func (h *house) withRules(t *testing.T, db *state.DB, a *archive.Archive, now clock.Now, log *slog.Logger) {
	t.Helper()
	engine := detect.NewSwitch(now)
	h.rulebook = search.NewRulebook(db, a, engine, search.Shelves{Own: rules.FS, Packs: packs()}, now, log)
	reload := func() {
		if err := h.rulebook.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	reload()
	by := auth.Person{ID: "pe-responder", Name: "佐藤"}
	for n, c := range []tuning.Change{
		{Rule: "5f0f7a52-2b6a-4d57-9a0e-6d5d6b0b7a11", Kind: tuning.Suppress, When: []tuning.Match{{Field: "host", Op: "is", Value: "ho-9"}, {Field: "CommandLine", Op: "contains", Value: "<script>alert(1)</script>"}},
			Owner: "検査科 <b>田中</b>", Reason: "OSの配布に使っている", Until: start.Add(72 * time.Hour)},
		{Rule: "5f0f7a52-2b6a-4d57-9a0e-6d5d6b0b7a11", Kind: tuning.Relevel, Level: event.Critical, Owner: "情報システム室", Reason: "予約者名簿のある席", Until: start.Add(24 * time.Hour)},
	} {
		h.now = start.Add(time.Duration(n-2) * time.Minute) // the later one stands above
		if _, err := h.rulebook.Tune(t.Context(), c, by); err != nil {
			t.Fatal(err)
		}
	}
	h.now = start
	if err := h.rulebook.SwitchOff(t.Context(), "hush-2", "どの機器でも出る", by); err != nil {
		t.Fatal(err)
	}
	reload()
	h.withThreats(t, db, a, engine, now, log)
	for _, list := range [][]event.Event{talks(), nights(), programs(), records()} {
		engine.Match(event.Batch{Host: list[0].Host, Site: list[0].Site, Events: list})
	}
	if err := errors.Join(h.rulebook.Note(t.Context()), h.threats.Note(t.Context())); err != nil {
		t.Fatal(err)
	}
}
