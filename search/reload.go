package search

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing/fstest"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/pack"
	"github.com/sonae/sonae/detect/sigma"
	"github.com/sonae/sonae/detect/tuning"
)

// Origin is where a rule comes from.
type Origin string

// Origins, in the order in which rules are loaded: an id that is taken stays
// with the first, so that no pack can push aside what people rely on.
const (
	Own  Origin = "own"  // comes with Sonae
	Made Origin = "made" // somebody here made it of a search
	Pack Origin = "pack" // lies in the folder of packs
)

// Origins lists them.
func Origins() []Origin { return []Origin{Own, Made, Pack} }

func originOf(i detect.Info) Origin { return Origins()[min(i.Root, 2)] } // files of packs, and what their archives hold

// How often packs are looked at, and how often numbers are written down.
const (
	lookEvery = 10 * time.Second
	noteEvery = time.Minute
)

// Reload puts the present rules and changes into force. When that fails, those
// before stay, and the page of the rules says so; a rule that cannot be
// understood leaves the others alone.
func (b *Rulebook) Reload(ctx context.Context) error {
	b.load.Lock()
	defer b.load.Unlock()
	err := b.reload(ctx)
	b.setTrouble(err)
	return err
}

func (b *Rulebook) setTrouble(err error) {
	b.trouble.Store(nil)
	if err != nil {
		text := err.Error()
		b.trouble.Store(&text)
	}
}

func (b *Rulebook) reload(ctx context.Context) error {
	made, err := b.FS(ctx)
	if err != nil {
		return err
	}
	changes, err := b.open(ctx)
	if err != nil {
		return err
	}
	packs := b.shelves.Packs
	if b.print, err = detect.Fingerprint(packs); err != nil { // before: what changes meanwhile is loaded next time
		return err
	}
	if _, err := fs.Stat(packs, "."); errors.Is(err, fs.ErrNotExist) {
		packs = fstest.MapFS{}
	}
	archives, damaged, err := pack.Archives(packs)
	if err != nil {
		return err
	}
	opt, err := b.options(packs)
	if err != nil {
		return err
	}
	engine, rep, err := detect.LoadWith(opt, b.shelves.Own, made, packs, archives)
	if err != nil {
		return err
	}
	if err := opt.Cache.Save(); err != nil { // rules are read from their files then
		b.log.Warn("read rules are not kept for the next start", "err", err)
	}
	engine.Lacks(damaged)
	for _, r := range append(rep.Rejected, damaged...) {
		b.log.Error("rule is not in force", "rule", r.ID, "file", r.File, "line", r.Line, "reason", r.Reason)
	}
	list := make([]tuning.Change, len(changes))
	for i, c := range changes {
		list[i] = c.Change
	}
	b.engine.Tune(tuning.New(list))
	b.engine.Replace(engine)
	now := b.moment()
	b.loadedAt.Store(&now)
	b.log.Info("rules loaded", "loaded", len(rep.Loaded), "rejected", len(rep.Rejected)+len(damaged), "changes", len(list))
	return nil
}

// Values is the folder among the packs that holds what rules leave open to the
// site: NAME.txt has the values of %NAME%, one a line.
const Values = "values"

// options are the values of placeholders, and what was read of rules before.
func (b *Rulebook) options(packs fs.FS) (sigma.Options, error) {
	opt := sigma.Options{}
	if _, err := fs.Stat(packs, Values); err == nil {
		dir, err := fs.Sub(packs, Values)
		if err != nil {
			return opt, err
		}
		if opt.Placeholders, err = sigma.ReadPlaceholders(dir); err != nil {
			return opt, fmt.Errorf("values of placeholders in %s: %w", Values, err)
		}
	}
	if b.shelves.Cache == "" {
		return opt, nil
	}
	var err error
	if opt.Cache, err = sigma.OpenCache(b.shelves.Cache); err != nil {
		b.log.Warn("rules are read anew", "err", err)
	}
	return opt, nil
}

// Run looks every ten seconds whether packs changed, writes numbers down every
// minute, and tries rules on the past, until ctx ends. What was counted last is
// written down before it returns.
func (b *Rulebook) Run(ctx context.Context) error {
	done := b.trials.run(ctx, b)
	look, note := time.NewTicker(lookEvery), time.NewTicker(noteEvery)
	defer look.Stop()
	defer note.Stop()
	for {
		select {
		case <-ctx.Done():
			<-done
			end, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer stop()
			b.noteOrSay(end)
			return nil
		case <-look.C:
			b.look(ctx)
		case <-note.C:
			b.noteOrSay(ctx)
		}
	}
}

func (b *Rulebook) noteOrSay(ctx context.Context) {
	if err := b.Note(ctx); err != nil {
		b.log.Error("hits of rules are not written down", "err", err)
	}
}

// look loads the rules anew when the packs are not what they were.
func (b *Rulebook) look(ctx context.Context) {
	now, err := detect.Fingerprint(b.shelves.Packs)
	b.load.Lock()
	same := now == b.print
	b.load.Unlock()
	if err == nil && same {
		return
	}
	if err == nil {
		err = b.Reload(ctx)
	}
	if err != nil && ctx.Err() == nil {
		b.setTrouble(err)
		b.log.Error("rules stay as they were", "err", err)
	}
}
