package action

import (
	"slices"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/clock"
)

// trait is what kinds of actions differ in.
type trait struct {
	order order.Kind
	undo  order.Kind    // "": there is nothing to undo
	proof string        // check that shows that it holds; of a part every check must
	lease time.Duration // that nobody chose
}

// frozenFor is how long a process stays frozen that people or a policy ordered
// to be frozen: a night and the day after it. Thawing costs files, a frozen
// process costs one program on one machine.
const frozenFor = 24 * time.Hour

// traits are the kinds that carry a lease or end something, with the orders
// that do and undo them.
var traits = map[Kind]trait{
	Isolate:        {order.Isolate, order.Release, "forbidden-blocked", DefaultLease},
	Block:          {order.Block, order.Unblock, "block-holds", DefaultLease},
	Freeze:         {order.Freeze, order.Thaw, "process-still", frozenFor},
	Kill:           {order.Kill, "", "process-ended", DefaultLease},
	StopService:    {order.StopService, order.StartService, "service-stopped", DefaultLease},
	DisableAccount: {order.DisableAccount, order.EnableAccount, "account-locked", DefaultLease},
	CutVM:          {order.CutVM, order.JoinVM, "vm-cut", DefaultLease},
	DenyShare:      {order.DenyShare, order.AllowShare, "share-denied", DefaultLease},
	Unmount:        {order.Unmount, order.Mount, "volume-gone", DefaultLease},
	BlockPeer:      {order.BlockPeer, order.UnblockPeer, "block-holds", DefaultLease},
	DropSession:    {order.DropSession, order.AdmitClient, "session-dropped", DefaultLease},
}

// Parts are the kinds that an agent does to one thing on its machine, in the
// order in which people are offered them.
func Parts() []Kind {
	return []Kind{Freeze, StopService, DisableAccount, BlockPeer, DropSession, DenyShare, Unmount, CutVM, Kill}
}

func (k Kind) proof() string { return traits[k].proof }

// UsualLease is the lease that an action has when nobody chooses another.
func (k Kind) UsualLease() time.Duration { return traits[k].lease }

// undoes says whether an order undoes another one.
func undoes(k order.Kind) bool {
	for _, t := range traits {
		if t.undo == k && k != "" {
			return true
		}
	}
	return false
}

// HasCode says whether the action can be released on the machine's own console.
func (a Action) HasCode() bool { return a.Kind != Block && !a.once() }

// What is what an action is done to, when that is less than the whole machine.
func (a Action) What() string {
	switch {
	case a.Process != nil:
		return processName(*a.Process)
	case a.Object != "":
		return a.Object
	}
	return joined(a.Targets)
}

// sameThing says whether two actions of one kind are about the same.
func sameThing(a, b Action) bool {
	same := a.Via == b.Via && a.Object == b.Object && slices.Equal(a.Targets, b.Targets)
	if a.Process == nil || b.Process == nil {
		return same && a.Process == b.Process
	}
	return same && sameProcess(*a.Process, *b.Process)
}

// orderOf is the order that carries an action out.
func (d *Desk) orderOf(a Action, now time.Time) order.Order {
	o := order.Order{ID: clock.ID("or", now), Kind: traits[a.Kind].order, Host: a.carrier(), Action: a.ID, IssuedAt: now,
		ExpiresAt: now.Add(waitForAgent), Lease: a.Lease, Keep: a.Keep, Forbidden: a.Forbidden, Targets: a.Targets,
		Process: a.Process, Object: a.Object, Drill: a.Drill}
	if a.HasCode() {
		o.CodeHash = order.CodeHash(d.code(a.ID))
	}
	return o
}

// undo is the order that ends it. It names what it is about: an agent that froze
// a process by itself knows no action of that id.
func (a Action) undo(now time.Time) order.Order {
	return order.Order{ID: clock.ID("or", now), Kind: traits[a.Kind].undo, Host: a.carrier(), Action: a.ID, IssuedAt: now,
		ExpiresAt: now.Add(waitRelease), Process: a.Process, Object: a.Object, Drill: a.Drill}
}
