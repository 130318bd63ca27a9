package bus

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sonae/sonae/fault"
)

// Quotas keep one noisy host or site from starving the others. Bytes are those
// of the messages as they are sent, compressed. Zero means the default, which
// leaves a site of a million events a day more than a hundred times what it
// needs.
type Quotas struct {
	Waiting     int64          // of all that was accepted and is not finished; default 3/4 of Config.MaxBytes, at most 6/7
	HostWaiting int64          // of one host; default 64 MiB
	SiteRate    int64          // bytes per second of one site in the long run; default 64 MiB
	HostRate    int64          // of one host; default 8 MiB
	Burst       int64          // seconds of its rate that a site or host may send at once; default 30
	Weights     map[string]int // of sites that get more than others when it is tight; default 1
}

func (q Quotas) filled(maxBytes int64) Quotas {
	for field, value := range map[*int64]int64{&q.Waiting: maxBytes / 4 * 3, &q.HostWaiting: 64 << 20, &q.SiteRate: 64 << 20, &q.HostRate: 8 << 20, &q.Burst: 30} {
		if *field == 0 {
			*field = value
		}
	}
	return q
}

func (q Quotas) weight(site string) int64 { return int64(max(1, q.Weights[site])) }

// What a sender is told to wait when something else than its own rate is full.
const (
	waitHost = 2 * time.Second
	waitFull = 5 * time.Second
)

// How fresh the count of what waits is: for those that are let in, and for
// those that would be refused.
const (
	countEvery = time.Second
	countAgain = 100 * time.Millisecond
)

// meter knows what waits in one stream and how fast it comes.
type meter struct {
	quotas Quotas
	count  func(ctx context.Context) (*jetstream.StreamInfo, error)

	mu      sync.Mutex
	counted time.Time
	total   int64
	hosts   map[source]*account // Host is empty for what a site has altogether
	refused map[source]map[string]uint64
}

// source is who sends.
type source struct{ Site, Host string }

// account is what is known of a source.
type account struct {
	waiting int64     // bytes
	size    int64     // of a message, on average
	hosts   int64     // of a site: that have something waiting or sent lately
	credit  float64   // bytes that may be sent now
	at      time.Time // when credit was right
}

func newMeter(q Quotas, count func(context.Context) (*jetstream.StreamInfo, error)) *meter {
	return &meter{quotas: q, count: count, hosts: map[source]*account{}, refused: map[source]map[string]uint64{}}
}

// sender takes site and host from a subject, as event.site.host.
func sender(subject string) source {
	p := strings.Split(plain(subject), ".")
	if len(p) < 3 {
		return source{Host: p[len(p)-1]}
	}
	return source{Site: p[1], Host: p[len(p)-1]}
}

// admit lets size bytes of a source in or says why not.
func (m *meter) admit(ctx context.Context, from source, size int64, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recount(ctx, now, countEvery)
	site, host := m.account(source{Site: from.Site}, now), m.account(from, now)
	err := m.full(from, site, host)
	if err != nil && m.recount(ctx, now, countAgain) {
		site, host = m.account(source{Site: from.Site}, now), m.account(from, now)
		err = m.full(from, site, host)
	}
	if err == nil {
		err = m.fast(from, site, host, now)
	}
	if err != nil {
		m.refuse(from.Site, err)
		return err
	}
	for _, a := range []*account{site, host} {
		a.waiting += size
		a.credit -= float64(size)
	}
	host.size = (3*host.size + size) / 4
	m.total += size
	return nil
}

// full says what of all that waits is too much. Below half of the bound
// everybody may have what a host may have; above, every site that sends gets
// its share, and every host that sends its share of that. What was taken while
// nobody else sent can fill the bound: a sixth more is kept for those who have
// less than their share.
func (m *meter) full(from source, site, host *account) error {
	q := m.quotas
	switch {
	case m.total >= q.Waiting+q.Waiting/6:
		return fault.New(fault.Busy, "bus.lag").With(after{wait: waitFull})
	case host.waiting >= q.HostWaiting:
		return fault.New(fault.Busy, "bus.quota-host", host.waiting>>20).With(after{wait: waitHost})
	case m.total < q.Waiting/2:
		return nil
	}
	share := q.Waiting * q.weight(from.Site) / m.weights()
	switch {
	case site.waiting >= q.Waiting:
		return fault.New(fault.Busy, "bus.lag").With(after{wait: waitFull})
	case site.waiting >= share:
		return fault.New(fault.Busy, "bus.quota-site", site.waiting>>20).With(after{wait: waitHost})
	case host.waiting >= share/max(1, site.hosts):
		return fault.New(fault.Busy, "bus.quota-host", host.waiting>>20).With(after{wait: waitHost})
	}
	return nil
}

// weights adds up those of the sites that send.
func (m *meter) weights() (sum int64) {
	for s, a := range m.hosts {
		if s.Host == "" && a.hosts > 0 {
			sum += m.quotas.weight(s.Site)
		}
	}
	return max(1, sum)
}

// fast says who sends more than its rate. A message larger than the credit is
// let in and paid for later, so that none is too large for ever.
func (m *meter) fast(from source, site, host *account, now time.Time) error {
	for _, x := range []struct {
		a    *account
		rate int64
		key  string
	}{{host, m.quotas.HostRate, "bus.rate-host"}, {site, m.quotas.SiteRate, "bus.rate-site"}} {
		rate := float64(x.rate)
		x.a.credit = min(x.a.credit+rate*max(0, now.Sub(x.a.at).Seconds()), rate*float64(m.quotas.Burst))
		x.a.at = now
		if x.a.credit <= 0 {
			wait := time.Duration((1 - x.a.credit/rate) * float64(time.Second))
			return fault.New(fault.Busy, x.key).With(after{wait: wait})
		}
	}
	return nil
}

// account finds or opens an account with all its credit.
func (m *meter) account(s source, now time.Time) *account {
	a := m.hosts[s]
	if a == nil {
		rate := m.quotas.HostRate
		if s.Host == "" {
			rate = m.quotas.SiteRate
		} else {
			m.account(source{Site: s.Site}, now).hosts++
		}
		a = &account{credit: float64(rate * m.quotas.Burst), at: now}
		m.hosts[s] = a
	}
	return a
}

// recount asks the bus what really waits, also from before a restart and
// through other hubs, unless that was done within age.
func (m *meter) recount(ctx context.Context, now time.Time, age time.Duration) bool {
	if d := now.Sub(m.counted); d >= 0 && d < age {
		return false
	}
	ctx, stop := context.WithTimeout(ctx, countEvery)
	defer stop()
	m.counted = now
	info, err := m.count(ctx)
	if err != nil { // the last count holds; the bus itself will refuse
		return false
	}
	m.take(info, now)
	return true
}

// take replaces what was counted and forgets who has been quiet for long.
func (m *meter) take(info *jetstream.StreamInfo, now time.Time) {
	m.total = int64(info.State.Bytes)
	for s, a := range m.hosts {
		a.waiting, a.hosts = 0, 0
		if now.Sub(a.at) > time.Minute {
			delete(m.hosts, s)
		}
	}
	mean := int64(info.State.Bytes / max(1, info.State.Msgs))
	for subject, n := range info.State.Subjects {
		from := sender(subject)
		host := m.account(from, now)
		if host.size == 0 {
			host.size = mean
		}
		host.waiting += int64(n) * host.size
	}
	for s, a := range m.hosts {
		if s.Host != "" {
			site := m.account(source{Site: s.Site}, now)
			site.waiting += a.waiting
		}
	}
	m.countHosts()
}

// countHosts says for each site how many of its hosts are known; account
// counted those that it opened on the way, too.
func (m *meter) countHosts() {
	n := map[string]int64{}
	for s := range m.hosts {
		if s.Host != "" {
			n[s.Site]++
		}
	}
	for s, a := range m.hosts {
		if s.Host == "" {
			a.hosts = n[s.Site]
		}
	}
}
