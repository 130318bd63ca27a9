package bus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// External names a NATS cluster that several hubs share.
//
// The cluster must run with JetStream and, on every server, with
// "jetstream { sync_interval: always }": only then does an acknowledged
// message lie on the disks of most servers. A message that Publish returned
// nil for survives the loss of one server of three.
type External struct {
	URLs        []string
	Credentials string // file: JWT credentials, or an NKEY seed; "": none
	CA          string // file: PEM of the authority of the servers; "": those of the system
	Replicas    int    // 0: 3
	System      string // file: credentials of the system account, to check that the servers sync; "": not checked
}

// Times of the connection to a cluster.
const (
	dialWait     = 10 * time.Second
	reconnect    = 250 * time.Millisecond
	pingInterval = 2 * time.Second
)

// dial connects to a cluster, and again whenever the connection breaks. What
// was sent and not acknowledged is an error for whoever sent it: it is never
// kept in a buffer that a restart would lose.
func (b *Bus) dial(ctx context.Context, e External) error {
	opts, err := e.options("sonae "+b.cfg.Hub, e.Credentials)
	if err != nil {
		return err
	}
	b.conn, err = nats.Connect(strings.Join(e.URLs, ","), opts...)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", strings.Join(e.URLs, ","), err)
	}
	return b.checkSync(ctx, e)
}

func (e External) options(as, login string) ([]nats.Option, error) {
	opts := []nats.Option{nats.Name(as), nats.MaxReconnects(-1), nats.ReconnectWait(reconnect), nats.ReconnectJitter(reconnect, reconnect),
		nats.Timeout(dialWait), nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(2), nats.ReconnectBufSize(-1)}
	key, err := credentials(login)
	if err != nil {
		return nil, err
	}
	opts = append(opts, key...)
	if e.CA == "" {
		return opts, nil
	}
	pool, err := authority(e.CA)
	if err != nil {
		return nil, err
	}
	return append(opts, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool})), nil
}

// checkSync asks every server whether it syncs each message to the disk. Only
// the system account is told.
func (b *Bus) checkSync(ctx context.Context, e External) error {
	if e.System == "" {
		b.log.Info("cluster not asked whether it syncs every message, as there are no credentials of the system account; every server needs sync_interval: always")
		return nil
	}
	opts, err := e.options("sonae "+b.cfg.Hub+" check", e.System)
	if err != nil {
		return err
	}
	conn, err := nats.Connect(strings.Join(e.URLs, ","), opts...)
	if err != nil {
		return fmt.Errorf("connect as the system account: %w", err)
	}
	defer conn.Close()
	inbox := conn.NewInbox()
	answers, err := conn.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	if err := conn.PublishRequest("$SYS.REQ.SERVER.PING.JSZ", inbox, nil); err != nil {
		return err
	}
	asked := 0
	for wait := dialWait; ; wait = time.Second { // the first answer may take its time, the others come with it
		within, stop := context.WithTimeout(ctx, wait)
		m, err := answers.NextMsgWithContext(within)
		stop()
		if err != nil && asked == 0 {
			return fmt.Errorf("ask the cluster whether it syncs: %w", err)
		}
		if err != nil {
			b.log.Info("cluster syncs every message", "servers", asked)
			return ctx.Err()
		}
		if err := syncs(m.Data); err != nil {
			return err
		}
		asked++
	}
}

// syncs reads a server's answer about its JetStream.
func syncs(answer []byte) error {
	var a struct {
		Server struct {
			Name string `json:"name"`
		} `json:"server"`
		Data struct {
			Disabled bool `json:"disabled"`
			Config   struct {
				Always bool `json:"sync_always"`
			} `json:"config"`
		} `json:"data"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return fmt.Errorf("answer of a server: %w", err)
	}
	if !a.Data.Disabled && !a.Data.Config.Always {
		return fmt.Errorf("server %s acknowledges before it has synced: set sync_interval: always", a.Server.Name)
	}
	return nil
}

// How Publish bridges the election of a new leader in a cluster.
const (
	publishTry      = 2 * time.Second
	publishPatience = 10 * time.Second
	unreachableWait = 5 * time.Second // what a sender is told to wait
)

// publish sends a message, in a cluster again and again with the same id until
// a server has answered for it: the id makes it count once.
func (b *Bus) publish(ctx context.Context, m *nats.Msg, id string) error {
	if b.shared == nil {
		_, err := b.js.PublishMsg(ctx, m, jetstream.WithMsgID(id))
		return err
	}
	ctx, stop := context.WithTimeout(ctx, publishPatience)
	defer stop()
	for {
		try, stop := context.WithTimeout(ctx, publishTry)
		_, err := b.js.PublishMsg(try, m, jetstream.WithMsgID(id))
		stop()
		if err == nil || ctx.Err() != nil || !unreachable(err) {
			return err
		}
		sleep(ctx, reconnect)
	}
}

// unreachable says that a server that could answer for the stream was not
// there: trying again helps.
func unreachable(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code == 503 && api.ErrorCode != insufficientStorage && api.ErrorCode != maximumBytes
	}
	for _, e := range []error{context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, jetstream.ErrNoStreamResponse, nats.ErrConnectionReconnecting,
		nats.ErrReconnectBufExceeded, nats.ErrDisconnected, nats.ErrNoServers, nats.ErrStaleConnection} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// startPatience bounds how long a hub that starts waits for a cluster that
// elects leaders.
const startPatience = time.Minute

// patiently does what a cluster may be too busy for, again and again with
// pauses. An embedded server has no such excuse.
func (b *Bus) patiently(ctx context.Context, do func(context.Context) error) error {
	if b.cfg.External == nil {
		return do(ctx)
	}
	ctx, stop := context.WithTimeout(ctx, startPatience)
	defer stop()
	for {
		try, stop := context.WithTimeout(ctx, dialWait)
		err := do(try)
		stop()
		if err == nil || ctx.Err() != nil || !unreachable(err) {
			return err
		}
		b.log.Warn("the cluster does not answer, trying again", "err", err)
		sleep(ctx, beat/2)
	}
}

// credentials reads a file of credentials: a JWT with its seed, or a seed.
func credentials(file string) ([]nats.Option, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	if strings.Contains(string(text), "BEGIN NATS USER JWT") {
		return []nats.Option{nats.UserCredentials(file)}, nil
	}
	o, err := nats.NkeyOptionFromSeed(file)
	if err != nil {
		return nil, fmt.Errorf("read credentials %s: %w", file, err)
	}
	return []nats.Option{o}, nil
}

// authority reads certificates to trust.
func authority(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read authority %s: no certificate in it", file)
	}
	return pool, nil
}

// replicas is how many servers keep each message.
func (b *Bus) replicas() int {
	if b.cfg.External == nil {
		return 1
	}
	if b.cfg.External.Replicas == 0 {
		return 3
	}
	return b.cfg.External.Replicas
}

// share makes the place where hubs find each other.
func (b *Bus) share(ctx context.Context) error {
	err := b.patiently(ctx, func(ctx context.Context) error {
		kv, err := b.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: "SONAE_HUBS", History: 1, Storage: jetstream.FileStorage, Replicas: b.replicas(), MaxBytes: 16 << 20,
		})
		b.shared = &shared{kv: kv, hub: name(b.cfg.Hub), log: b.log}
		return err
	})
	if err != nil {
		return fmt.Errorf("place of the hubs: %w", err)
	}
	if err := b.patiently(ctx, b.shared.meet); err != nil {
		return fmt.Errorf("announce this hub: %w", err)
	}
	b.pumps.Go(func() { b.shared.run(b.life) })
	return nil
}
