package detect

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sonae/sonae/event"
)

// Parcels parts findings, in their order, into groups of at most about most
// bytes as JSON, so that each group fits into one message. An event that is
// too large for its share loses its original line and what is long in its
// fields: the archive has the whole of it, and no machine can keep others'
// findings from being carried on.
func Parcels(findings []Finding, most int) ([][]Finding, error) {
	return parcels(findings, most, lightened)
}

// MatchParcels does so with what correlations count.
func MatchParcels(matches []Match, most int) ([][]Match, error) {
	return parcels(matches, most, func(m Match, most int) Match {
		m.Event = lightEvent(m.Event, most/2)
		return m
	})
}

func parcels[T any](list []T, most int, lighten func(T, int) T) ([][]T, error) {
	var out [][]T
	var group []T
	size := 0
	for _, f := range list {
		n, err := sizeOf(f)
		if err != nil {
			return nil, err
		}
		if n > most {
			f = lighten(f, most)
			if n, err = sizeOf(f); err != nil {
				return nil, err
			}
		}
		if size+n > most && len(group) > 0 {
			out, group, size = append(out, group), nil, 0
		}
		group, size = append(group, f), size+n
	}
	if len(group) > 0 {
		out = append(out, group)
	}
	return out, nil
}

func sizeOf(v any) (int, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return 0, fmt.Errorf("measure finding: %w", err)
	}
	return len(b), nil
}

// lightened returns f with every event within its share of most bytes.
func lightened(f Finding, most int) Finding {
	share := most / (len(f.Events) + 1)
	f.Events = slices.Clone(f.Events)
	for i := range f.Events {
		f.Events[i] = lightEvent(f.Events[i], share)
	}
	return f
}

func lightEvent(e event.Event, share int) event.Event {
	for _, longest := range []int{1000, 100, 0} {
		if n, err := sizeOf(e); err == nil && n <= share {
			break
		}
		e = cutEvent(e, longest)
	}
	return e
}

// maxLightFields is how many fields a lightened event keeps.
const maxLightFields = 64

func cutEvent(e event.Event, longest int) event.Event {
	e.Raw = ""
	fields := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		if longest == 0 || len(fields) == maxLightFields {
			break
		}
		if v := e.Fields[name]; len(name) <= longest {
			fields[name] = strings.ToValidUTF8(v[:min(len(v), longest)], "")
		}
	}
	e.Fields = fields
	return e
}
