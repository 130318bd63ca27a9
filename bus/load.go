package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sonae/sonae/fault"
)

// maxSites bounds for how many sites refusals are counted.
const maxSites = 1000

// refuse counts a refusal by its reason.
func (m *meter) refuse(site string, err error) {
	var f *fault.Error
	if !errors.As(err, &f) {
		return
	}
	key := source{Site: site}
	if m.refused[key] == nil {
		if len(m.refused) >= maxSites {
			return
		}
		m.refused[key] = map[string]uint64{}
	}
	m.refused[key][f.Key]++
}

// Load is what one site has on the bus.
type Load struct {
	Site    string            `json:"site"`
	Waiting int64             `json:"waiting"` // bytes accepted and not finished by all joins
	Hosts   int64             `json:"hosts"`   // that sent within the last minute or have something waiting
	Loudest string            `json:"loudest"` // the host with most waiting
	Refused map[string]uint64 `json:"refused"` // offers, by the key of the reason
}

// Loads lists what the sites have on the bus, by site, for metrics. It is as
// fresh as the last Offer, about a second while something comes in.
func (b *Bus) Loads() []Load {
	b.meters.Lock()
	list := slices.Collect(maps.Values(b.meterOf))
	b.meters.Unlock()
	all := map[string]*Load{}
	for _, m := range list {
		m.loads(all)
	}
	out := make([]Load, 0, len(all))
	for _, l := range all {
		out = append(out, *l)
	}
	slices.SortFunc(out, func(a, c Load) int { return cmp.Compare(a.Site, c.Site) })
	return out
}

func (m *meter) loads(into map[string]*Load) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := func(site string) *Load {
		if into[site] == nil {
			into[site] = &Load{Site: site, Refused: map[string]uint64{}}
		}
		return into[site]
	}
	most := map[string]int64{}
	for s, a := range m.hosts {
		l := at(s.Site)
		if s.Host == "" {
			l.Waiting += a.waiting
			l.Hosts += a.hosts
		} else if a.waiting > most[s.Site] {
			most[s.Site], l.Loudest = a.waiting, s.Host
		}
	}
	for s, keys := range m.refused {
		for key, n := range keys {
			at(s.Site).Refused[key] += n
		}
	}
}

// meter returns the one of a subject's stream.
func (b *Bus) meter(subject string) *meter {
	stream, _, _ := strings.Cut(subject, ".")
	b.meters.Lock()
	defer b.meters.Unlock()
	if b.meterOf == nil {
		b.meterOf = map[string]*meter{}
	}
	m := b.meterOf[stream]
	if m == nil {
		m = newMeter(b.cfg.Quotas.filled(b.limit()), func(ctx context.Context) (*jetstream.StreamInfo, error) {
			s, err := b.js.Stream(ctx, strings.ToUpper(stream))
			if err != nil {
				return nil, fmt.Errorf("what waits in %s: %w", stream, err)
			}
			return s.Info(ctx, jetstream.WithSubjectFilter(stream+".>"))
		})
		b.meterOf[stream] = m
	}
	return m
}

// limit is how many bytes a stream holds.
func (b *Bus) limit() int64 {
	if b.cfg.MaxBytes == 0 {
		return 4 << 30
	}
	return b.cfg.MaxBytes
}

// Offer is Publish for what comes from outside, from the site and host that
// the subject ends with: it refuses with fault.Busy while the disk has less
// than Config.MinFree left, while what was accepted before waits in a length
// that Config.Quotas does not allow, and who sends more than its share. The
// error then has a cause with RetryAfter() time.Duration.
func (b *Bus) Offer(ctx context.Context, subject, id string, body []byte) error {
	if err := b.room.check(); err != nil {
		return err
	}
	if err := b.meter(subject).admit(ctx, sender(subject), int64(len(body)), time.Now()); err != nil {
		return err
	}
	return b.Publish(ctx, subject, id, body)
}
