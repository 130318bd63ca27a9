package action

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Line is one line for the chronology, in catalogue words. Args follow the
// chronology's rule: a name that ends in _key is a catalogue key, one that
// ends in _at a time; ids of persons and hosts are shown by name.
type Line struct {
	Key        string // "action.requested" …; the sentence is "entry." + Key
	Args       map[string]string
	OccurredAt time.Time
	Unique     string // the same whenever the same thing is said again
}

// Lines returns all that the chronology should say of an action as it is. The
// reader writes those that it has not written yet.
func (a Action) Lines() []Line {
	var out []Line
	add := func(at time.Time, unique, key string, args ...string) {
		l := Line{Key: "action." + key, OccurredAt: at, Unique: a.ID + "/" + unique, Args: map[string]string{"host": a.Host}}
		switch {
		case a.Kind == Block:
			l.Args = map[string]string{"what": joined(a.Targets), "via": a.ViaName, "means_key": "action.by." + string(a.Means)}
		case a.IsPart():
			l.Args["what"], l.Args["kind_key"] = a.What(), "action.kind."+string(a.Kind)
		}
		for i := 0; i+1 < len(args); i += 2 {
			l.Args[args[i]] = args[i+1]
		}
		out = append(out, l)
	}
	kind, of := string(a.Kind), a.family()
	add(a.RequestedAt, "requested", a.asked(), "by", a.RequestedBy, "reason", a.Reason, "lease", minutes(a.Lease))
	if a.Tell != "" {
		add(a.RequestedAt, "tell", "tell", "tell", a.Tell)
	}
	if a.Auto == Guard { // done before the hub heard of it
		if a.KeptBy != "" {
			add(a.KeptAt, "kept/"+rfc(a.KeptAt), "kept.guard", "by", a.KeptBy)
		}
		a.ended(add, of)
		return out
	}
	if a.DecidedBy != "" && a.State != Refused {
		add(a.DecidedAt, "approved", "approved"+of, "by", a.DecidedBy)
	}
	if !a.AppliedAt.IsZero() {
		add(a.AppliedAt, "applied", "applied."+kind, "ends_at", rfc(a.ExpiresAt))
	}
	if a.Leaking() {
		add(a.AppliedAt, fmt.Sprintf("leaking/%d", a.lastCheck().UnixNano()), "leaking"+of, "target", a.Forbidden)
	}
	if !a.VerifiedAt.IsZero() {
		add(a.VerifiedAt, "verified", "verified."+kind, "target", a.Forbidden, "bag", a.Bag)
	}
	if a.WrongCodes > 0 && a.HasCode() {
		add(a.LastSign, fmt.Sprintf("wrong-code/%d", a.WrongCodes), "wrong-code", "count", strconv.Itoa(a.WrongCodes))
	}
	if a.KeptBy != "" && a.Kind == Freeze {
		add(a.KeptAt, "kept/"+rfc(a.KeptAt), "kept", "by", a.KeptBy, "lease", minutes(a.Lease))
	}
	a.ended(add, of)
	return out
}

// family is what the keys of sentences end in that kinds share.
func (a Action) family() string {
	switch {
	case a.Kind == Block:
		return ".block"
	case a.IsPart():
		return ".part"
	}
	return ""
}

// asked is the sentence with which it began.
func (a Action) asked() string {
	switch {
	case a.Auto == Guard && a.Kind == DropSession:
		return "dropped"
	case a.Auto == Guard:
		return "frozen"
	case a.Auto != "" && a.Kind == Block:
		return "automatic"
	case a.Auto != "":
		return "automatic" + cmp.Or(a.family(), ".isolate")
	case a.IsPart():
		return "requested.part"
	}
	return "requested." + string(a.Kind)
}

// IsPart says whether an agent does it to one thing on its machine.
func (a Action) IsPart() bool { return slices.Contains(Parts(), a.Kind) }

// ended tells how it ended, or is about to.
func (a Action) ended(add func(at time.Time, unique, key string, args ...string), of string) {
	if a.ReleasedBy != "" && a.Cause == Cancelled {
		add(a.ReleasedAt, "cancelled", "cancelled.preserve", "by", a.ReleasedBy)
	} else if a.ReleasedBy != "" {
		add(a.ReleasedAt, "releasing", "releasing"+of, "by", a.ReleasedBy)
	}
	if a.Kind == Block && a.State == Releasing && a.Failure != "" {
		add(a.LastSign, "not-restored", "not-restored.block", "detail", a.Failure)
	}
	a.endLine(add, of)
	if where := a.ByHand(); where != "" {
		add(a.EndedAt, "by-hand", "by-hand", "where", where)
	}
}

func (a Action) endLine(add func(at time.Time, unique, key string, args ...string), of string) {
	switch a.State {
	case Refused:
		add(a.EndedAt, "refused", "refused"+of, "by", a.DecidedBy, "reason", a.Failure)
	case Released:
		if a.Kind == Block {
			add(a.EndedAt, "released", "released.block")
			return
		}
		if a.IsPart() {
			add(a.EndedAt, "released", "released.part."+a.Cause)
			return
		}
		add(a.EndedAt, "released", "released."+a.Cause)
	case Expired:
		if a.Failure == "" {
			add(a.EndedAt, "expired", "expired"+of+".lease")
			return
		}
		add(a.EndedAt, "expired", "expired"+of+"."+a.Failure)
	case Failed:
		if a.Cause == Cancelled { // the line above says so
			return
		}
		add(a.EndedAt, "failed", "failed"+cmp.Or(of, "."+string(a.Kind)), "detail", a.Failure)
	}
}

func (a Action) lastCheck() time.Time {
	var last time.Time
	for _, c := range a.Checks {
		if c.Checked.After(last) {
			last = c.Checked
		}
	}
	return last
}

// minutes writes a lease for a sentence: the unit is in the catalogue.
// minutes says a lease as people do; parts of a minute to one place.
func minutes(d time.Duration) string {
	return strings.TrimSuffix(strconv.FormatFloat(d.Minutes(), 'f', 1, 64), ".0")
}

func rfc(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
