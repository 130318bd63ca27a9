package hub

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sonae/sonae/alert"
)

// metrics serves Prometheus' text format on the loopback door.
func (h *Hub) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), gauges{h, gaugeNames()})
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// gauges reads the stages' own counters at each scrape, so that no stage
// needs to know about metrics.
type gauges struct {
	hub   *Hub
	names map[string]*prometheus.Desc
}

func gaugeNames() map[string]*prometheus.Desc {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sonae_"+name, help, labels, nil)
	}
	return map[string]*prometheus.Desc{
		"batches":  desc("agent_batches_total", "Batches that agents handed over."),
		"events":   desc("agent_events_total", "Events that agents handed over."),
		"bytes":    desc("agent_bytes_total", "Bytes of batches on the wire."),
		"evidence": desc("agent_evidence_items_total", "Evidence items taken."),
		"streams":  desc("agent_order_streams", "Agents connected for orders."),
		"refused":  desc("agent_refused_total", "Requests of agents that were refused.", "reason"),
		"lag":      desc("bus_waiting_messages", "Messages that wait for a join.", "join"),
		"outbox":   desc("outbox_messages", "Messages of changes that are made and not yet on the bus."),
		"site":     desc("bus_site_waiting_bytes", "Bytes of a site that were accepted and are not finished.", "site"),
		"held":     desc("bus_refused_total", "Batches that were refused because a site or host sent too much, or the bus is full.", "site", "reason"),
		"stored":   desc("archive_events", "Events in sealed segments."),
		"tail":     desc("archive_tail_events", "Events that are shown and not sealed yet."),
		"size":     desc("archive_bytes", "Bytes of segments."),
		"segments": desc("archive_segments", "Segments."),
		"damaged":  desc("archive_damaged_segments", "Segments that are not what the manifest says."),
		"wounded":  desc("ledger_damaged", "1 when the ledger does not match its checkpoint or cannot be followed."),
		"ledger":   desc("ledger_leaves", "Leaves in the ledger."),
		"cosigned": desc("ledger_cosignature_age_seconds", "Age of the newest cosignature; +Inf: none yet.", "witness"),
		"hits":     desc("rule_hits_total", "Events that a rule matched on this hub since it started; the rules beyond the 500 that matched most are one, named (other).", "rule"),
		"cost":     desc("rule_seconds_total", "About how long the condition of a rule took on this hub since it started; the rules beyond the 500 that matched most are one, named (other).", "rule"),
		"rules":    desc("rules", "Rules that are in force, and documents that were rejected.", "state"),
		"open":     desc("alerts", "Alerts by state.", "state"),
		"groups":   desc("correlation_groups", "Groups that a correlation counts, on the hub that does.", "rule"),
		"watched":  desc("baseline_hosts", "Hosts whose behaviour is learned, on the hub that does."),
		"told":     desc("baseline_behaviours_total", "Behaviours of hosts that were told."),
		"lost":     desc("baseline_forgotten_total", "What had to be forgotten because there was too much.", "what"),
		"sensed":   desc("sensor_events_total", "Events that other sensors said to this hub.", "sensor"),
		"unsensed": desc("sensor_left_out_total", "Events, datagrams and lines of other sensors that were left out.", "reason"),
		"left":     desc("correlation_left_out_total", "Events, or groups, that a correlation had to leave out.", "rule", "reason"),
	}
}

func (g gauges) Describe(out chan<- *prometheus.Desc) {
	for _, d := range g.names {
		out <- d
	}
}

func (g gauges) Collect(out chan<- prometheus.Metric) {
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	put := func(name string, kind prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(g.names[name], kind, v, labels...)
	}
	g.sensors(put)
	s := g.hub.link.Stats()
	put("batches", prometheus.CounterValue, float64(s.Batches))
	put("events", prometheus.CounterValue, float64(s.Events))
	put("bytes", prometheus.CounterValue, float64(s.Bytes))
	put("evidence", prometheus.CounterValue, float64(s.Evidence))
	put("streams", prometheus.GaugeValue, float64(s.Streams))
	for reason, n := range s.Refused {
		put("refused", prometheus.CounterValue, float64(n), reason)
	}
	// the outbox first: what leaves it meanwhile is seen on the bus
	if n, err := g.hub.state.Waiting(ctx); err == nil {
		put("outbox", prometheus.GaugeValue, float64(n))
	}
	if lags, err := g.hub.bus.Lags(ctx); err == nil {
		for _, l := range lags {
			put("lag", prometheus.GaugeValue, float64(l.Waiting)+float64(l.Pending), l.Join)
		}
	}
	for _, l := range g.hub.bus.Loads() {
		put("site", prometheus.GaugeValue, float64(l.Waiting), l.Site)
		for reason, n := range l.Refused {
			put("held", prometheus.CounterValue, float64(n), l.Site, reason)
		}
	}
	a := g.hub.archive.Stats()
	put("stored", prometheus.GaugeValue, float64(a.Events))
	put("tail", prometheus.GaugeValue, float64(a.Tail))
	put("size", prometheus.GaugeValue, float64(a.Bytes))
	put("segments", prometheus.GaugeValue, float64(a.Segments))
	put("damaged", prometheus.GaugeValue, float64(a.Damaged))
	wounded := 0.0
	if g.hub.ledger.Damage() != nil || g.hub.ledger.Trouble() != nil {
		wounded = 1
	}
	put("wounded", prometheus.GaugeValue, wounded)
	if c, err := g.hub.ledger.Checkpoint(ctx); err == nil {
		put("ledger", prometheus.GaugeValue, float64(c.Size))
	}
	for id, age := range g.hub.ledger.CosignatureAge(g.hub.cfg.Now()) {
		seconds := age.Seconds()
		if age < 0 {
			seconds = math.Inf(1)
		}
		put("cosigned", prometheus.GaugeValue, seconds, id)
	}
	g.rules(put)
	g.correlations(put)
	g.baselines(put)
	for _, st := range []alert.State{alert.Open, alert.Acked, alert.Closed} {
		if _, n, err := g.hub.alerts.List(ctx, alert.Filter{State: st, Limit: 1}); err == nil {
			put("open", prometheus.GaugeValue, float64(n), string(st))
		}
	}
}

// maxRuleLabels bounds the label rule: packs have thousands of rules.
const maxRuleLabels = 500

func (g gauges) rules(put func(name string, kind prometheus.ValueType, v float64, labels ...string)) {
	engine := g.hub.engine.Load()
	for _, u := range g.hub.engine.Usage(maxRuleLabels) {
		put("hits", prometheus.CounterValue, float64(u.Hits), u.Rule)
		put("cost", prometheus.CounterValue, u.Cost.Seconds(), u.Rule)
	}
	rep := engine.Report()
	put("rules", prometheus.GaugeValue, float64(len(rep.Loaded)), "loaded")
	put("rules", prometheus.GaugeValue, float64(len(rep.Rejected)), "rejected")
}

func (g gauges) correlations(put func(name string, kind prometheus.ValueType, v float64, labels ...string)) {
	for rule, c := range g.hub.engine.Load().Counts() {
		put("groups", prometheus.GaugeValue, float64(c.Groups), rule)
		for reason, n := range map[string]uint64{"late": c.Late, "evicted": c.Evicted, "crowded": c.Crowded, "unfit": c.Unfit, "reset": c.Resets} {
			put("left", prometheus.CounterValue, float64(n), rule, reason)
		}
	}
}

func (g gauges) baselines(put func(name string, kind prometheus.ValueType, v float64, labels ...string)) {
	s := g.hub.watched.Stats()
	put("watched", prometheus.GaugeValue, float64(s.Hosts))
	put("told", prometheus.CounterValue, float64(s.Behaviours))
	for what, n := range map[string]uint64{"host": s.LostHosts, "thing": s.LostThings, "known": s.LostKnown} {
		put("lost", prometheus.CounterValue, float64(n), what)
	}
}

// sensors are the counters of what other sensors say.
func (g gauges) sensors(put func(name string, kind prometheus.ValueType, v float64, labels ...string)) {
	f := g.hub.feed.Stats()
	put("sensed", prometheus.CounterValue, float64(f.Events), "logs")
	put("unsensed", prometheus.CounterValue, float64(f.Dropped), "rate")
	put("unsensed", prometheus.CounterValue, float64(f.Damaged), "unreadable-line")
	put("unsensed", prometheus.CounterValue, float64(g.hub.gather.Dropped()), "no-room")
	put("unsensed", prometheus.CounterValue, float64(g.hub.gather.Lost()), "refused")
	if g.hub.flows == nil {
		return
	}
	n := g.hub.flows.Stats()
	put("sensed", prometheus.CounterValue, float64(n.Flows), "flows")
	for reason, v := range map[string]uint64{"unknown-exporter": n.Refused, "unreadable-datagram": n.Unreadable, "no-template": n.Unknown, "exporter-rate": n.Dropped} {
		put("unsensed", prometheus.CounterValue, float64(v), reason)
	}
}
