package health

import (
	"cmp"
	"context"
	"net"
	"strings"
	"time"

	"github.com/sonae/sonae/source/agentlink/wire"
)

// ServiceConfig is a service that must run: one of Unit, Process and TCP.
type ServiceConfig struct {
	Name    string `yaml:"name"`    // for people; empty: as the other field says
	Unit    string `yaml:"unit"`    // of systemd
	Process string `yaml:"process"` // name of the program, as /proc/PID/comm has it
	TCP     string `yaml:"tcp"`     // host:port that must accept a connection
}

// dialFor bounds a try to connect.
const dialFor = 5 * time.Second

func (m *Monitor) measureServices(ctx context.Context) []wire.Measure {
	var out []wire.Measure
	for _, s := range m.cfg.Services {
		x := wire.Measure{Name: Service, Object: cmp.Or(s.Name, s.Unit, s.Process, s.TCP)}
		up, why, err := s.up(ctx)
		if err != nil {
			m.deps.Log.Warn("service cannot be asked", "service", x.Object, "err", err)
			continue
		}
		if !up {
			x.Value, x.Detail = 1, why
		}
		out = append(out, x)
	}
	return out
}

// up says whether the service runs. An error means that it cannot be known.
func (s ServiceConfig) up(ctx context.Context) (up bool, why string, err error) {
	switch {
	case s.Unit != "":
		return active(ctx, s.Unit)
	case s.Process != "":
		up, err = running(s.Process)
		return up, "no process", err
	}
	c, err := (&net.Dialer{Timeout: dialFor}).DialContext(ctx, "tcp", s.TCP)
	if err != nil {
		return false, bounded(err.Error()), nil
	}
	return true, "", c.Close()
}

// maxDetail bounds what is told to people beside a number.
const maxDetail = 100

// bounded cuts a text and keeps it text.
func bounded(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxDetail)], "") }
