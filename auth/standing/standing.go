// Package standing decides what a site approved beforehand: which action may
// follow which alert without asking anybody at the time.
//
// In: policies as people approved them, written in Cedar, and a Situation. Out:
// Grant. Always true: what no policy permits is not granted; a policy that
// forbids wins over all that permit; nothing is granted about a machine on the
// keep-list; where a policy cannot be evaluated, nothing is granted.
package standing

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

// Bounds of a policy.
const (
	MaxText     = 16 << 10 // bytes
	defaultMost = 3        // machines in an hour
	maxMost     = 100
	maxLease    = 24 * time.Hour
	maxTell     = 200 // bytes
)

// Kinds are the actions that may follow an alert by themselves, in the order in
// which they are carried out.
func Kinds() []string { return []string{"freeze", "cut-backup", "block-peer", "isolate", "block"} }

// Situation is what a policy may look at.
type Situation struct {
	// The principal: an alert.
	Alert    string
	Rule     string
	Tags     []string
	Severity event.Severity
	Certain  bool // what was seen proves it
	Count    int  // findings
	Programs []string
	Users    []string

	// The resource: the machine.
	Host  string
	Name  string
	Site  string
	Class string
	OS    string
	Known bool // it is in the register
	Keep  bool // it is on the keep-list

	At time.Time // context: hour, minute and day of the week in Japan
}

// Grant is what a policy allows, with its annotations.
type Grant struct {
	Policy string
	Lease  time.Duration // @lease, 0: the usual one
	Most   int           // @most: machines in an hour
	Tell   string        // @tell: who is to be told
	Via    string        // @via: gateway or device that blocks
	Probe  string        // @probe: ip:port that must not answer once isolated
}

// Set is policies that hold together. It is immutable and safe for concurrent
// use.
type Set struct {
	all    *cedar.PolicySet
	grants map[cedar.PolicyID]Grant
}

// Compile reads policies, by id. What it refuses is a fault with the sentence
// for the person who wrote it.
func Compile(texts map[string]string) (*Set, error) {
	s := &Set{all: cedar.NewPolicySet(), grants: map[cedar.PolicyID]Grant{}}
	for _, id := range slices.Sorted(maps.Keys(texts)) {
		if err := s.add(id, texts[id]); err != nil {
			return nil, err
		}
	}
	return s, s.tried()
}

func (s *Set) add(id, text string) error {
	if len(text) > MaxText {
		return fault.New(fault.Invalid, "standing.long", MaxText>>10)
	}
	list, err := cedar.NewPolicyListFromBytes(id, []byte(text))
	if err != nil {
		return fault.New(fault.Invalid, "standing.syntax", err.Error()).With(err)
	}
	permits := 0
	for i, p := range list {
		pid := cedar.PolicyID(fmt.Sprintf("%s#%d", id, i))
		s.all.Add(pid, p)
		if p.Effect() != cedar.Permit {
			continue
		}
		permits++
		g, err := grant(id, p.Annotations())
		if err != nil {
			return err
		}
		s.grants[pid] = g
	}
	if permits == 0 {
		return fault.New(fault.Invalid, "standing.nothing")
	}
	return nil
}

func grant(id string, notes cedar.Annotations) (Grant, error) {
	g := Grant{Policy: id, Most: defaultMost}
	for key, value := range notes {
		if err := g.note(string(key), strings.TrimSpace(string(value))); err != nil {
			return Grant{}, err
		}
	}
	return g, nil
}

// note takes one annotation.
func (g *Grant) note(key, value string) (err error) {
	switch key {
	case "lease":
		g.Lease, err = time.ParseDuration(value)
		if err == nil && (g.Lease < time.Minute || g.Lease > maxLease) {
			err = fmt.Errorf("%s is not between 1m and %s", g.Lease, maxLease)
		}
	case "most":
		g.Most, err = strconv.Atoi(value)
		if err == nil && (g.Most < 1 || g.Most > maxMost) {
			err = fmt.Errorf("%d is not between 1 and %d", g.Most, maxMost)
		}
	case "tell":
		if g.Tell = value; len(value) > maxTell {
			err = fmt.Errorf("longer than %d bytes", maxTell)
		}
	case "via":
		g.Via = value
	case "probe":
		g.Probe = value
		_, err = netip.ParseAddrPort(value)
	case "id":
	default:
		err = fmt.Errorf("unknown")
	}
	if err != nil {
		return fault.New(fault.Invalid, "standing.note", "@"+key, err.Error()).With(err)
	}
	return nil
}

// tried evaluates every policy once, so that a misspelt attribute is found when
// it is written and not in the night when it is needed.
func (s *Set) tried() error {
	at := time.Date(2026, 1, 1, 3, 0, 0, 0, clock.Tokyo())
	for _, sure := range []bool{true, false} {
		x := Situation{Alert: "al", Rule: "r", Severity: event.Critical, Certain: sure, Known: sure, Host: "ho", Site: "s", Class: "pc", At: at}
		for _, kind := range Kinds() {
			if _, _, err := s.Judge(kind, x); err != nil {
				return fault.New(fault.Invalid, "standing.syntax", err.Error()).With(err)
			}
		}
	}
	return nil
}

// Judge says whether a kind of action may follow, and by which policy.
func (s *Set) Judge(kind string, x Situation) (Grant, bool, error) {
	if x.Keep {
		return Grant{}, false, nil
	}
	entities, request := x.question(kind)
	decision, diag := cedar.Authorize(s.all, entities, request)
	if len(diag.Errors) > 0 {
		return Grant{}, false, fmt.Errorf("policy %s: %s", diag.Errors[0].PolicyID, diag.Errors[0].Message)
	}
	if decision != cedar.Allow {
		return Grant{}, false, nil
	}
	var ids []string
	for _, why := range diag.Reasons {
		ids = append(ids, string(why.PolicyID))
	}
	if len(ids) == 0 {
		return Grant{}, false, nil
	}
	return s.grants[cedar.PolicyID(slices.Min(ids))], true, nil
}

// question puts a situation into Cedar's words.
func (x Situation) question(kind string) (cedar.EntityMap, cedar.Request) {
	at := x.At.In(clock.Tokyo())
	alert := cedar.Entity{UID: cedar.NewEntityUID("Alert", cedar.String(x.Alert)), Attributes: cedar.NewRecord(cedar.RecordMap{
		"rule": cedar.String(x.Rule), "tags": texts(x.Tags), "severity": cedar.Long(level(x.Severity)), "certain": cedar.Boolean(x.Certain),
		"count": cedar.Long(x.Count), "programs": texts(x.Programs), "users": texts(x.Users)})}
	host := cedar.Entity{UID: cedar.NewEntityUID("Host", cedar.String(x.Host)), Attributes: cedar.NewRecord(cedar.RecordMap{
		"name": cedar.String(x.Name), "site": cedar.String(x.Site), "class": cedar.String(x.Class), "os": cedar.String(x.OS), "known": cedar.Boolean(x.Known)})}
	return cedar.EntityMap{alert.UID: alert, host.UID: host}, cedar.Request{
		Principal: alert.UID, Action: cedar.NewEntityUID("Action", cedar.String(kind)), Resource: host.UID,
		Context: cedar.NewRecord(cedar.RecordMap{"hour": cedar.Long(at.Hour()), "minute": cedar.Long(at.Minute()),
			"day": cedar.String(strings.ToLower(at.Weekday().String()[:3]))})}
}

// level counts severities from 1 (information) to 5 (critical).
func level(s event.Severity) int { return int(s-event.Info) + 1 }

func texts(all []string) cedar.Set {
	var out []cedar.Value
	for _, s := range all {
		out = append(out, cedar.String(s))
	}
	return cedar.NewSet(out...)
}
