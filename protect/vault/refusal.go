package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/state"
)

// class is what a refusal means.
type class int

// Classes: it means nothing new; it may be an accident; nobody does that by
// accident; one of two clocks is wrong; there is no room; what was received is not
// there any more.
const (
	quiet class = iota
	odd
	attack
	skewed
	room
	lost
)

// classOf sorts refusals by the key of their reason. Bytes that do not fit may
// have been damaged on the way, once. A clock that is wrong is wrong for every
// backup: however often it is refused, that is no attack.
func classOf(key string) class {
	switch key {
	case "protect.append-only", "protect.exists", "protect.lock", "protect.role", "protect.key":
		return attack
	case "protect.name", "protect.junk", "protect.snapshot", "protect.no-key":
		return odd
	case "protect.snapshot-time", "protect.snapshot-old", "protect.clock-back":
		return skewed
	case "protect.quota", "protect.full":
		return room
	case "protect.lost", "protect.log-changed":
		return lost
	}
	return quiet
}

// refusal is what was not let in.
type refusal struct {
	repository.Refusal
	key  string
	what string // path in the repository, or what was asked for
}

// Refusals are refusals of one reason within a short time.
type Refusals struct {
	ID    string    `json:"id"`
	Agent string    `json:"agent"` // whose credentials they came with
	Key   string    `json:"key"`   // of the sentence "fault.KEY"
	Count int       `json:"count"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	What  []string  `json:"what"` // the first of them, at most 10
}

// refused takes what the service tells; it never blocks.
func (v *Vault) refused(r repository.Refusal) {
	x := refusal{Refusal: r, key: keyOf(r.Err), what: r.Kind.Path(r.Name)}
	if x.key == "protect.key" && !v.begunNow(r.Agent) { // somebody tries out restic with a password of their own
		x.key = "protect.no-key"
	}
	v.tell(x)
}

// begunNow says whether an open repository has its config. The service tells of
// what it finds when it opens one, too: then it must not be asked.
func (v *Vault) begunNow(agent string) bool {
	r := v.service.Opened(agent)
	return r == nil || r.Begun()
}

// Denied takes what a client asked for that it may not do.
func (v *Vault) Denied(agent, who, asked string, err error) {
	v.tell(refusal{Refusal: repository.Refusal{At: v.moment(), Agent: agent, Who: who, Err: err}, key: keyOf(err), what: asked})
}

func (v *Vault) tell(x refusal) {
	select {
	case v.refusals <- x:
	default:
		v.missed.Add(1)
	}
}

func keyOf(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Key
	}
	return ""
}

// Times of telling.
const (
	tellAgain = 30 * time.Second // refusals of one agent and reason are told together
	oddWithin = 10 * time.Minute // so many odd ones within this time are no accident
	oddMost   = 3
)

// bucket collects refusals of one agent, client and reason.
type bucket struct {
	waiting []refusal
	told    time.Time
	recent  []refusal // of different files, the newest oddMost: a client sends the same one again and again
}

// tellRefusals makes findings of refusals until ctx ends. The first of an attack
// is told at once.
func (v *Vault) tellRefusals(ctx context.Context) error {
	all := map[[3]string]*bucket{}
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case x := <-v.refusals:
			k := [3]string{x.Agent, x.Who, x.key}
			if all[k] == nil {
				all[k] = &bucket{}
			}
			all[k].add(x)
			v.flush(ctx, all[k])
		case <-t.C:
			for k, b := range all {
				v.flush(ctx, b)
				if len(b.waiting) == 0 && v.moment().Sub(b.told) > oddWithin {
					delete(all, k)
				}
			}
			if n := v.missed.Swap(0); n > 0 {
				v.Log.Error("refusals came too fast to be told one by one", "count", n)
			}
		}
	}
}

// maxWaiting bounds what is held of refusals that could not be stored.
const maxWaiting = 10_000

func (b *bucket) add(x refusal) {
	if len(b.waiting) < maxWaiting {
		b.waiting = append(b.waiting, x)
	}
	if slices.ContainsFunc(b.recent, func(r refusal) bool { return r.what == x.what }) {
		return
	}
	if b.recent = append(b.recent, x); len(b.recent) > oddMost {
		b.recent = b.recent[1:]
	}
}

// class is what the refusals of a bucket mean together.
func (b *bucket) class() class {
	first := b.waiting[0]
	c := classOf(first.key)
	switch {
	case c == attack && strings.HasPrefix(first.Who, passPrefix): // a person with a pass tried too much; nobody has the agent's credentials
		return odd
	case c == odd && len(b.recent) == oddMost && b.recent[oddMost-1].At.Sub(b.recent[0].At) <= oddWithin:
		return attack
	}
	return c
}

// flush stores what waits, with a finding about it.
func (v *Vault) flush(ctx context.Context, b *bucket) {
	now := v.moment()
	if len(b.waiting) == 0 || now.Sub(b.told) < tellAgain && now.Sub(b.told) >= 0 {
		return
	}
	if err := v.keepRefusals(ctx, b); err != nil {
		if ctx.Err() == nil {
			v.Log.Error("refusals are not told", "err", err)
		}
		return
	}
	b.waiting, b.told = nil, now
}

// maxWhat is how many refusals of one reason are named.
const maxWhat = 10

func (v *Vault) keepRefusals(ctx context.Context, b *bucket) error {
	first, c := b.waiting[0], b.class()
	r := Refusals{ID: clock.ID("vr", v.moment()), Agent: first.Agent, Key: first.key, Count: len(b.waiting), First: first.At, Last: b.waiting[len(b.waiting)-1].At}
	for _, x := range b.waiting {
		if len(r.What) < maxWhat && !slices.Contains(r.What, x.what) {
			r.What = append(r.What, x.what)
		}
	}
	site := ""
	h, err := v.Hosts.Host(ctx, r.Agent)
	if err == nil {
		site = h.Site
	} else if s, _, err := get[settings](ctx, v, kindRepository, r.Agent); err == nil {
		site = s.Site
	}
	return v.db.Tx(ctx, func(tx *state.Tx) error {
		if err := v.put(ctx, tx, version{ID: r.ID, Kind: kindRefusal, Agent: r.Agent, Site: site, By: Hub}, r, said{}); err != nil {
			return err
		}
		f, ok := r.finding(c, site, first.Err)
		if !ok {
			return nil
		}
		return emitFinding(ctx, tx, f)
	})
}

// emitFinding hands a finding to whoever follows findings, in the transaction
// that keeps what it is about.
func emitFinding(ctx context.Context, tx *state.Tx, f detect.Finding) error {
	if err := tx.Emit(ctx, "finding."+f.Host, "finding:"+f.ID, []detect.Finding{f}); err != nil {
		return fmt.Errorf("tell %s: %w", f.Rule.ID, err)
	}
	return nil
}

// RefusalsOf are the newest refusals of an agent.
func (v *Vault) RefusalsOf(ctx context.Context, agent string) ([]Refusals, error) {
	return list[Refusals](ctx, v, kindRefusal, agent, "", 50)
}
