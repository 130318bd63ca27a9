package main

import (
	"time"

	"github.com/sonae/sonae/agent/files"
	"github.com/sonae/sonae/agent/guard"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence/antivirus"
)

// scanner makes the collector; nil when no antivirus program is named. Programs
// that the guard allows are trusted here, too.
func (p program) scanner(o options, found func(event.Event)) (*files.Scanner, error) {
	if o.virus.clamd == "" {
		return nil, nil
	}
	client, err := antivirus.New(o.virus.clamd)
	if err != nil {
		return nil, err
	}
	cfg := files.ScanConfig{Folders: o.virus.folders, MaxBytes: o.virus.most << 20}
	if o.guard.allow != "" {
		if cfg.Allow, err = guard.ReadAllowed(o.guard.allow); err != nil {
			return nil, err
		}
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	d := files.Deps{Dir: o.dir, Now: time.Now, Log: p.log.With("part", "antivirus")}
	return files.NewScanner(cfg, files.ScanDeps{Deps: d, Virus: client, Found: found}), nil
}
