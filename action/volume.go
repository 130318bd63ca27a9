package action

import (
	"path"
	"slices"
	"strings"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
)

// byHand is the check of an agent that lets a volume be mounted again, and
// cannot do it itself: it takes a password.
const byHand = "volume-by-hand"

// planVolume checks where the volume is mounted. The machine knows what it
// needs, and refuses to let it go.
func planVolume(a *Action, h asset.Host, target string) (err error) {
	if a.Object, err = object(target); err != nil {
		return err
	}
	if !path.IsAbs(a.Object) {
		return fault.New(fault.Invalid, "action.volume-path", a.Object)
	}
	a.Object = path.Clean(a.Object)
	if h.Keep != "" {
		return fault.New(fault.Denied, "action.keep-listed", h.Name, h.Keep)
	}
	return nil
}

// leaveToPeople remembers what an undoing left to people.
func (a *Action) leaveToPeople(checks []order.Check) {
	for _, c := range checks {
		if c.Name == byHand {
			a.Checks = append(a.Checks, Check{Name: c.Name, Target: c.Target, OK: c.OK, Detail: c.Detail, Checked: c.At})
		}
	}
}

// ByHand are the places where people must mount again what is undone.
func (a Action) ByHand() string {
	var out []string
	for _, c := range a.Checks {
		if c.Name == byHand && !slices.Contains(out, c.Target) {
			out = append(out, c.Target)
		}
	}
	return strings.Join(out, " ")
}
