package main

import (
	"time"

	"github.com/sonae/sonae/agent/changes"
	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/agent/files"
	"github.com/sonae/sonae/agent/owner"
	"github.com/sonae/sonae/event"
)

// changes are the collectors of what is new on this machine: ports and accounts
// always, files as the settings and the flags say. found takes viruses.
func (p program) changes(o options, found func(event.Event)) ([]collect.Collector, error) {
	d := changes.Deps{Dir: o.dir, Now: time.Now, Log: p.log.With("part", "changes")}
	out := []collect.Collector{changes.NewPorts(d, listeners), changes.NewAccounts(d)}
	fd := files.Deps{Dir: o.dir, Now: time.Now, Log: p.log.With("part", "files")}
	folders, err := files.NewFolders(o.settings.Files, fd)
	if err != nil {
		return nil, err
	}
	if folders != nil {
		out = append(out, folders)
	}
	if r := files.NewRemovable(o.settings.Files, fd); r != nil {
		out = append(out, r)
	}
	scanner, err := p.scanner(o, found)
	if err != nil {
		return nil, err
	}
	if scanner != nil {
		out = append(out, scanner)
	}
	return out, nil
}

func listeners() []changes.Listener {
	var out []changes.Listener
	for _, l := range owner.Listening() {
		q := l.Process
		out = append(out, changes.Listener{Proto: l.Proto, Local: l.Local, PID: q.PID, Image: q.Image, Command: q.Command, User: q.User})
	}
	return out
}
