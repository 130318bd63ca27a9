package collect

import (
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source/linux"
)

// Names of the fields of log-in events that Sigma does not name.
const (
	fieldAction   = "Action" // login | logout | failure
	fieldMethod   = "Method" // password, publickey, …
	fieldTerminal = "Terminal"
)

// loginOf reads a log-in, a log-out or a failure from a log message, when it
// holds one.
func loginOf(program, message string, at time.Time) (event.Event, bool) {
	l, ok := linux.LoginOf([]byte(program), []byte(message))
	if !ok {
		return event.Event{}, false
	}
	f := map[string]string{}
	for name, v := range map[string][]byte{fieldAction: l.Action, fieldMethod: l.Method, fieldTerminal: l.Terminal,
		event.FieldUser: l.User, event.FieldSrcIP: l.Source, event.FieldSrcPort: l.Port} {
		if len(v) > 0 {
			f[name] = string(v)
		}
	}
	return event.Event{Time: at, Kind: event.KindLogin, Product: linux.Product, Category: "authentication", Service: string(l.Service), Fields: f, Raw: message}, true
}
