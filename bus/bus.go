// Package bus carries messages between the stages: an embedded NATS server
// with JetStream on disk, or a NATS cluster that several hubs share. It is the
// only package that imports nats.
//
// In: bytes with a subject and an id, from the stages (Publish), from agents
// (Offer) and from the buses of other sites (LeafListen). Out: the same to every
// Join whose subject matches, in order, at least once: to one hub of all, to
// the hub that handles a host (Partitioned), or to every hub (Each); and the
// right to do something on one hub only (Lead).
//
// Always true: Publish returns only after the message has been synced to disk,
// in a cluster to the disks of most servers; a message is kept until every
// join has handled it, also over kill -9 of hubs and servers; a repeated id
// within Duplicates is dropped; what cannot be used is kept among the dead
// letters with the reason; when the disk or a quota is full Offer refuses with
// fault.Busy and a time to wait, long before the stages have no room left; two
// hubs never lead at the same time. A leaf can speak for its own site only and
// read nothing.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sonae/sonae/fault"
)

// Duplicates is how long the bus remembers message ids.
const Duplicates = 10 * time.Minute

// maxPayload is the largest message; an agent's batch is at most 4 MiB.
const maxPayload = 5 << 20

// noLimit keeps the server from comparing the bounds of the streams with what
// the disk has free when it starts: a hub whose disk filled up must start all
// the same. Each stream has its bound, and Config.MinFree watches the disk.
const noLimit = 1 << 60

// Config says where the bus keeps its messages and which streams there are.
type Config struct {
	Dir      string
	Streams  []string // first tokens of the subjects, e.g. "event"
	MaxBytes int64    // per stream; 0: 4 GiB
	MinFree  uint64   // bytes that must be free on the disk for Offer; 0: not checked

	// Partitioned are subjects of streams whose joins may be Partitioned, as
	// they are published, e.g. "event.*.*": messages with the same last token
	// stay in order.
	Partitioned []string
	Hub         string      // name of this hub, different from those of others that share External; "": "hub" where it is alone
	Quotas      Quotas      // of Offer
	Leaf        *Leaf       // this bus belongs to a second site and hands on what it takes
	LeafListen  *LeafListen // other sites may hand on to this bus
	External    *External   // instead of the embedded server; Dir and MinFree are then not used
}

// Bus is a running bus. It is safe for concurrent use.
type Bus struct {
	server  *server.Server // nil with External
	conn    *nats.Conn
	js      jetstream.JetStream
	log     *slog.Logger
	cfg     Config
	parts   partitions
	line    *line   // nil unless this bus is a leaf or has leaves
	shared  *shared // nil unless several hubs share the bus
	leads   leads
	led     sync.Mutex
	waiting map[string]Join // Led joins, by name; guarded by led
	room    room
	meters  sync.Mutex        // guards meterOf
	meterOf map[string]*meter // by stream
	stop    context.CancelFunc
	life    context.Context
	pumps   sync.WaitGroup
}

// Open starts the server on dir without any network port, or connects to
// Config.External, and makes the streams.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Bus, error) {
	b, err := start(ctx, cfg, log)
	if err != nil {
		return nil, fmt.Errorf("open bus: %w", err)
	}
	if err := b.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open bus: %w", err), b.Close())
	}
	return b, nil
}

// start starts the server with the streams that dir holds, or none, and
// connects to it.
func start(ctx context.Context, cfg Config, log *slog.Logger) (*Bus, error) {
	if (cfg.External != nil && (cfg.Leaf != nil || cfg.LeafListen != nil)) || (cfg.Leaf != nil && cfg.LeafListen != nil) {
		return nil, errors.New("a bus is one of: external, a leaf, a hub of leaves")
	}
	if cfg.Hub == "" && cfg.External != nil {
		return nil, errors.New("hubs that share a cluster need a name each")
	}
	if cfg.Hub == "" {
		cfg.Hub = "hub"
	}
	parts, err := newPartitions(cfg.Partitioned)
	if err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	b := &Bus{log: log, cfg: cfg, parts: parts, room: room{dir: cfg.Dir, min: cfg.MinFree}, life: life, stop: stop, waiting: map[string]Join{}}
	if cfg.External != nil {
		b.room.min = 0 // the cluster answers for its own disks
		err = b.dial(ctx, *cfg.External)
	} else {
		err = b.embed()
	}
	if err == nil {
		b.js, err = jetstream.New(b.conn)
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// embed starts the server in this process.
func (b *Bus) embed() (err error) {
	o := &server.Options{
		ServerName: "sonae", DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: b.cfg.Dir, SyncAlways: true, MaxPayload: maxPayload,
		JetStreamMaxStore: noLimit,
	}
	login := []nats.Option{nats.MaxReconnects(-1)}
	if b.cfg.Leaf != nil || b.cfg.LeafListen != nil {
		b.line = &line{}
		if err := b.line.join(o, b.cfg); err != nil {
			return err
		}
		login = append(login, nats.UserInfo(b.line.user, b.line.password))
	}
	if b.server, err = server.NewServer(o); err != nil {
		return err
	}
	b.server.Start()
	if !b.server.ReadyForConnections(20 * time.Second) {
		return fmt.Errorf("the server in %s does not start", b.cfg.Dir)
	}
	if g := b.server.GlobalAccount(); !g.JetStreamEnabled() { // it is not by itself where there are other accounts
		if err := g.EnableJetStream(nil, nil); err != nil {
			return err
		}
	}
	if b.conn, err = nats.Connect("", append(login, nats.InProcessServer(b.server))...); err != nil {
		return err
	}
	return b.connectLine(o)
}

// prepare makes what the hubs share, and opens the line to other sites.
func (b *Bus) prepare(ctx context.Context) error {
	if err := b.streams(ctx, b.cfg); err != nil {
		return err
	}
	switch {
	case b.cfg.External != nil:
		return b.share(ctx)
	case b.cfg.Leaf != nil:
		return b.uplink(ctx)
	case b.cfg.LeafListen != nil:
		return b.serveLeaves()
	}
	return nil
}

// streams makes the streams that are configured.
func (b *Bus) streams(ctx context.Context, cfg Config) error {
	for _, name := range append([]string{deadStream}, cfg.Streams...) {
		limit := b.limit()
		if _, big := b.parts[name]; !big && len(b.parts) > 0 { // what comes from outside is by far the most
			limit /= 8
		}
		if err := b.stream(ctx, name, limit); err != nil {
			return fmt.Errorf("stream %s: %w", name, err)
		}
	}
	return nil
}

// stream makes one stream. Its messages live until every join has
// acknowledged them, dead letters until somebody removes them; a full stream
// refuses new messages rather than dropping old ones.
func (b *Bus) stream(ctx context.Context, name string, limit int64) error {
	retention := jetstream.InterestPolicy
	if name == deadStream {
		retention = jetstream.LimitsPolicy
	}
	return b.patiently(ctx, func(ctx context.Context) error {
		_, err := b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: strings.ToUpper(name), Subjects: []string{name + ".>"}, Storage: jetstream.FileStorage,
			Retention: retention, Discard: jetstream.DiscardNew, MaxBytes: limit, Duplicates: Duplicates,
			Replicas: b.replicas(),
		})
		return err
	})
}

// Publish hands a message over. It returns nil once the message is on disk.
// The same id twice within Duplicates counts once. A message that is larger
// than the bus carries is fault.Invalid.
func (b *Bus) Publish(ctx context.Context, subject, id string, body []byte) error {
	msg := &nats.Msg{Subject: b.parts.place(subject), Data: body}
	err := b.publish(ctx, msg, id)
	if err == nil {
		return nil
	}
	if errors.Is(err, nats.ErrMaxPayload) {
		return fault.New(fault.Invalid, "bus.too-large", len(body)>>10, maxPayload>>10).With(err)
	}
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == jetstream.ErrorCode(maximumBytes) || api.ErrorCode == jetstream.ErrorCode(insufficientStorage)) {
		return fault.New(fault.Busy, "bus.full").With(err)
	}
	if b.shared != nil && unreachable(err) {
		return fault.New(fault.Busy, "bus.unreachable").With(after{unreachableWait, err})
	}
	return fmt.Errorf("publish %s: %w", subject, err)
}

// Codes of the JetStream API for a stream at its limit and for a full disk.
const (
	maximumBytes        = 10077
	insufficientStorage = 10047
)

// Close stops the joins, waits for running handlers, and stops the server.
func (b *Bus) Close() error {
	b.stop()
	b.pumps.Wait()
	if b.line != nil && b.line.post != nil {
		b.line.post.Close()
	}
	if b.conn != nil {
		_ = b.conn.FlushTimeout(grace) // what was acknowledged last comes again if this fails
		b.conn.Close()
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
	return nil
}
