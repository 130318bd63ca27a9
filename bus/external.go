package bus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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
	opts := []nats.Option{nats.Name("sonae " + b.cfg.Hub), nats.MaxReconnects(-1), nats.ReconnectWait(reconnect),
		nats.Timeout(dialWait), nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(2), nats.ReconnectBufSize(-1)}
	login, err := credentials(e.Credentials)
	if err != nil {
		return err
	}
	opts = append(opts, login...)
	if e.CA != "" {
		pool, err := authority(e.CA)
		if err != nil {
			return err
		}
		opts = append(opts, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool}))
	}
	b.conn, err = nats.Connect(strings.Join(e.URLs, ","), opts...)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", strings.Join(e.URLs, ","), err)
	}
	return ctx.Err()
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
	kv, err := b.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: "SONAE_HUBS", History: 1, Storage: jetstream.FileStorage, Replicas: b.replicas(), MaxBytes: 16 << 20,
	})
	if err != nil {
		return fmt.Errorf("place of the hubs: %w", err)
	}
	b.shared = &shared{kv: kv, hub: name(b.cfg.Hub), log: b.log}
	if err := b.shared.meet(ctx); err != nil {
		return errors.Join(errors.New("announce this hub"), err)
	}
	b.pumps.Go(func() { b.shared.run(b.life) })
	return nil
}
