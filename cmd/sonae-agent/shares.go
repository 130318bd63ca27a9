package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/agent/act/contain"
	"github.com/sonae/sonae/agent/guard/shares"
	"github.com/sonae/sonae/agent/samba"
	"github.com/sonae/sonae/clock"
)

// sharesOptions say which shares are watched, and what follows.
type sharesOptions struct {
	audit, conf string
	only        bool
	lease       time.Duration
	allow       several
	nets        []netip.Prefix
}

func (o *sharesOptions) flags(f *flag.FlagSet) {
	f.StringVar(&o.audit, "smb-audit", "", "file that Samba's full_audit writes: clients that encrypt shares are thrown out")
	f.StringVar(&o.conf, "smb-conf", samba.Conf, "Samba's configuration")
	f.BoolVar(&o.only, "smb-tell-only", false, "tell of clients that encrypt, throw none out")
	f.DurationVar(&o.lease, "smb-lease", time.Hour, "how long such a client is kept out")
	f.Var(&o.allow, "smb-allow", "address or network of clients that may change any file, as many as wanted")
}

func (o *sharesOptions) check() error {
	if o.lease < time.Minute || o.lease > 24*time.Hour {
		return fmt.Errorf("--smb-lease is between 1m and 24h")
	}
	for _, s := range o.allow {
		p, err := netip.ParsePrefix(s)
		if a, err2 := netip.ParseAddr(s); err2 == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return fmt.Errorf("--smb-allow: %w", err)
		}
		o.nets = append(o.nets, p.Masked())
	}
	return nil
}

// serving are the programs that serve the watched shares. The guard for
// programs leaves them alone: one that stands still keeps locks for which all
// other clients wait.
func (o *sharesOptions) serving() []string {
	if o.audit == "" {
		return nil
	}
	return []string{"/usr/sbin/smbd"}
}

// open makes the guard of the shares; nil when none are watched.
func (o *sharesOptions) open(dir string, log *slog.Logger, found func(shares.Found)) (agent.Shares, error) {
	if o.audit == "" {
		return nil, nil
	}
	server := samba.Server{Conf: o.conf}
	c := shares.Config{Audit: o.audit, Allow: o.nets, Dir: dir, OnFound: found, Now: time.Now, Log: log, Where: func(ctx context.Context) (places []string, err error) {
		all, err := server.Shares(ctx)
		for _, s := range all {
			if s.Path != "" {
				places = append(places, s.Path)
			}
		}
		return places, err
	}}
	if !o.only {
		c.End = samba.End
	}
	return shares.New(c)
}

// keptOut keeps clients out that encrypted, as if it had been ordered, and
// tells of them.
type keptOut struct {
	group *contain.Group
	lease time.Duration
	tell  func(shares.Found, agent.KeptOut)
	queue chan shares.Found
	log   *slog.Logger
}

// keepTime bounds keeping one client out, after which people are told anyway.
const keepTime = 20 * time.Second

func (k *keptOut) found(f shares.Found) {
	select {
	case k.queue <- f:
	default: // 64 clients at once: their sessions were ended all the same
		k.tell(f, agent.KeptOut{Why: "too many at once"})
	}
}

// start begins to take over; the returned function ends that.
func (k *keptOut) start(ctx context.Context, act bool) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case f := <-k.queue:
				k.tell(f, k.keep(ctx, f, act))
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}

// keep begins an action of this machine's own. The hub learns its id, so that
// its order ends it; nobody has a code for it, but its lease is short.
func (k *keptOut) keep(ctx context.Context, f shares.Found, act bool) agent.KeptOut {
	if !act {
		return agent.KeptOut{Why: "told only"}
	}
	ctx, stop := context.WithTimeout(ctx, keepTime)
	defer stop()
	now := time.Now()
	o := order.Order{ID: clock.ID("or", now), Kind: order.DropSession, Action: clock.ID("ac", now), Targets: []string{f.Client.String()},
		Lease: k.lease, IssuedAt: now, ExpiresAt: now.Add(time.Minute)}
	r := k.group.Do(ctx, o)
	if r.Phase != order.Applied {
		k.log.Error("a client that encrypts is not kept out", "client", f.Client, "detail", r.Detail)
		return agent.KeptOut{Why: r.Detail}
	}
	return agent.KeptOut{Action: o.Action, Lease: o.Lease}
}
