package archive

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sonae/sonae/event"
)

// batchOf makes a batch of n events as agents send them: mostly flows, some
// processes, log lines and health.
func batchOf(number, n int) event.Batch {
	dice := rand.New(rand.NewPCG(uint64(number), 7))
	b := event.Batch{ID: fmt.Sprintf("ba-%012x", number), Site: "si-callcentre", Host: fmt.Sprintf("ho-%d", number%5)}
	b.SentAt = noon().Add(time.Duration(number) * time.Second)
	for i := range n {
		e := event.Event{ID: fmt.Sprintf("%s-%d", b.ID, i), Site: b.Site, Host: b.Host, Time: b.SentAt.Add(time.Duration(i) * 37 * time.Microsecond)}
		switch dice.IntN(10) {
		case 0, 1:
			processEvent(&e, dice)
		case 2, 3:
			logEvent(&e, dice)
		case 4:
			e.Kind, e.Product, e.Service = event.KindHealth, "sonae", "health"
			e.Fields = map[string]string{"Cpu": fmt.Sprintf("%.3f", dice.Float64()), "Memory": "0.412", "Disk": "0.77", "BytesSent": "0"}
		default:
			flowEvent(&e, dice)
		}
		b.Events = append(b.Events, e)
	}
	return b
}

func flowEvent(e *event.Event, dice *rand.Rand) {
	e.Kind, e.Product, e.Category, e.Service = event.KindFlow, "sonae", "network_connection", "flow"
	local, remote := fmt.Sprintf("10.20.%d.%d", dice.IntN(3), dice.IntN(200)), fmt.Sprintf("203.0.113.%d", dice.IntN(250))
	sport, dport := fmt.Sprint(30000+dice.IntN(30000)), []string{"443", "80", "53", "6881", "51413"}[dice.IntN(5)]
	e.Fields = map[string]string{
		event.FieldFlowID: fmt.Sprintf("fl-%016x", dice.Uint64()), event.FieldPhase: "update", event.FieldProtocol: "tcp",
		event.FieldSrcIP: local, event.FieldSrcPort: sport, event.FieldDstIP: remote, event.FieldDstPort: dport,
		event.FieldLocalIP: local, event.FieldLocalPort: sport, event.FieldRemoteIP: remote, event.FieldRemotePort: dport,
		event.FieldInitiated: "true", event.FieldApp: "tls", event.FieldConfidence: "certain",
		event.FieldSent: fmt.Sprint(dice.IntN(1 << 20)), event.FieldReceived: fmt.Sprint(dice.IntN(1 << 24)), event.FieldPackets: fmt.Sprint(dice.IntN(9000)),
		event.FieldFirst: e.Time.Add(-time.Minute).Format(time.RFC3339Nano), event.FieldLast: e.Time.Format(time.RFC3339Nano),
		event.FieldImage: "/usr/bin/transmission-daemon", event.FieldPID: fmt.Sprint(1000 + dice.IntN(3000)), event.FieldUser: "operator",
	}
}

func processEvent(e *event.Event, dice *rand.Rand) {
	e.Kind, e.Product, e.Category = event.KindProcess, "linux", "process_creation"
	e.Fields = map[string]string{
		event.FieldImage: "/usr/bin/" + []string{"bash", "ls", "curl", "python3"}[dice.IntN(4)], "ParentImage": "/usr/bin/bash",
		event.FieldCommand: fmt.Sprintf("curl -fsS https://intranet.example/api/v1/records/%d", dice.IntN(1<<20)),
		event.FieldPID:     fmt.Sprint(dice.IntN(60000)), event.FieldUser: "operator", "CurrentDirectory": "/home/operator", "Hashes": fmt.Sprintf("SHA256=%064x", dice.Uint64()),
	}
}

func logEvent(e *event.Event, dice *rand.Rand) {
	e.Kind, e.Product, e.Service = event.KindLog, "linux", "sshd"
	e.Raw = fmt.Sprintf("Nov 22 12:%02d:%02d pc-%d sshd[%d]: Accepted publickey for operator from 10.20.0.%d port %d ssh2: ED25519 SHA256:%016x%016x",
		dice.IntN(60), dice.IntN(60), dice.IntN(40), dice.IntN(60000), dice.IntN(250), dice.IntN(60000), dice.Uint64(), dice.Uint64())
	e.Fields = map[string]string{"Hostname": fmt.Sprintf("pc-%d", dice.IntN(40)), "Message": e.Raw[20:]}
}

func BenchmarkAppend(b *testing.B) {
	a := open(b, b.TempDir())
	const events, perBatch = 20_000, 500
	var op [][]event.Batch
	for n := range b.N {
		var batches []event.Batch
		for i := range events / perBatch {
			batches = append(batches, batchOf(n*1000+i, perBatch))
		}
		op = append(op, batches)
	}
	b.ResetTimer()
	b.ReportAllocs()
	for _, batches := range op {
		appended(b, a, batches...)
	}
	s := a.Stats()
	b.ReportMetric(float64(s.Events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(s.Bytes)/float64(s.Events), "bytes/event")
}

func BenchmarkQuery(b *testing.B) {
	a := open(b, b.TempDir())
	for n := range 50 {
		appended(b, a, batchOf(n, 10_000))
	}
	for name, q := range map[string]Query{
		"newest":       {},
		"host":         {Host: "ho-3", Limit: 200},
		"rare text":    {Text: "no such words"},
		"one kind":     {Kind: event.KindProcess, Limit: 200},
		"ids":          {IDs: []string{"ba-000000000007-77"}},
		"five minutes": {From: noon(), To: noon().Add(20 * time.Second), Limit: 1000},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				query(b, a, q)
			}
		})
	}
}
