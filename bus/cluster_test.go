package bus

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// node is how a server of a test cluster is started, in a process of its own.
type node struct {
	Name, Dir    string
	Client       int
	Cluster      int // port of the routes; 0: the server stands alone
	Routes       []string
	Cert, Key    string
	User, System string // public keys that may connect
	Lazy         bool   // acknowledges before it has synced
}

// cluster is a real NATS cluster with TLS and NKEY logins.
type cluster struct {
	t     *testing.T
	nodes []node
	procs []*exec.Cmd
	ext   External
}

// TestMain lets the test binary be a server or a hub that can be killed.
func TestMain(m *testing.M) {
	if text := os.Getenv("SONAE_TEST_NODE"); text != "" {
		serveNode(text)
	}
	if text := os.Getenv("SONAE_TEST_HUB"); text != "" {
		serveHub(text)
	}
	os.Exit(m.Run())
}

func die(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func serveNode(text string) {
	var n node
	die(json.Unmarshal([]byte(text), &n))
	pair, err := tls.LoadX509KeyPair(n.Cert, n.Key)
	die(err)
	app, sys := server.NewAccount("APP"), server.NewAccount("SYS")
	o := &server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Client, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: n.Dir, SyncAlways: !n.Lazy, MaxPayload: maxPayload,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13},
		Accounts:  []*server.Account{app, sys}, SystemAccount: "SYS",
		Nkeys: []*server.NkeyUser{{Nkey: n.User, Account: app}, {Nkey: n.System, Account: sys}},
	}
	if n.Cluster != 0 {
		o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: n.Cluster}
		for _, r := range n.Routes {
			u, err := url.Parse(r)
			die(err)
			o.Routes = append(o.Routes, u)
		}
	}
	s, err := server.NewServer(o)
	die(err)
	s.Start()
	if a, err := s.LookupAccount("APP"); err == nil {
		die(a.EnableJetStream(nil, nil))
	}
	fmt.Println("up")
	s.WaitForShutdown()
	os.Exit(0)
}

// port finds a port that is free now.
func port(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// seed makes an NKEY and returns the file of its seed and its public key.
func seed(t *testing.T) (file, public string) {
	t.Helper()
	k, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	text, err := k.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = k.PublicKey(); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, public
}

// certificate makes an authority and a certificate for 127.0.0.1.
func certificate(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	make := func(c, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			signer = k
		}
		c.NotBefore, c.NotAfter, c.BasicConstraintsValid = time.Now().Add(-time.Hour), time.Now().Add(time.Hour), true
		der, err := x509.CreateCertificate(rand.Reader, c, parent, k.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		return der, k
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "test CA"}}
	rootDER, rootKey := make(root, root, nil)
	leafDER, leafKey := make(&x509.Certificate{SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, root, rootKey)
	text, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	return write("ca.pem", "CERTIFICATE", rootDER), write("cert.pem", "CERTIFICATE", leafDER), write("key.pem", "PRIVATE KEY", text)
}

// newCluster starts n servers; change may alter them before.
func newCluster(t *testing.T, n int, change func(*node)) *cluster {
	t.Helper()
	ca, cert, key := certificate(t)
	user, userKey := seed(t)
	system, systemKey := seed(t)
	c := &cluster{t: t, ext: External{Credentials: user, System: system, CA: ca, Replicas: n}}
	var routes []string
	for i := range n {
		node := node{Name: "n" + strconv.Itoa(i), Dir: t.TempDir(), Client: port(t), Cert: cert, Key: key, User: userKey, System: systemKey}
		if n > 1 {
			node.Cluster = port(t)
			routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", node.Cluster))
		}
		if change != nil {
			change(&node)
		}
		c.nodes = append(c.nodes, node)
		c.ext.URLs = append(c.ext.URLs, fmt.Sprintf("tls://127.0.0.1:%d", node.Client))
	}
	c.procs = make([]*exec.Cmd, n)
	for i := range n {
		c.nodes[i].Routes = routes
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range c.procs {
			c.kill(i)
		}
	})
	return c
}

func (c *cluster) start(i int) {
	c.t.Helper()
	text, err := json.Marshal(c.nodes[i])
	if err != nil {
		c.t.Fatal(err)
	}
	c.procs[i] = child(c.t, "SONAE_TEST_NODE="+string(text))
}

// child starts the test binary as something else and waits for its first line.
func child(t *testing.T, env string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 512)
	n, _ := out.Read(line) // nothing read is no "up"
	if got := strings.TrimSpace(string(line[:n])); got != "up" {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("child: %s", got)
	}
	return cmd
}

func (c *cluster) kill(i int) {
	if c.procs[i] == nil {
		return
	}
	_ = c.procs[i].Process.Kill()
	_ = c.procs[i].Wait() // killed: that is its exit status
	c.procs[i] = nil
}

// open connects a hub, as soon as the cluster has found itself.
func (c *cluster) open(t *testing.T, cfg Config) *Bus {
	t.Helper()
	cfg.External = &c.ext
	if cfg.Hub == "" {
		cfg.Hub = "a"
	}
	if cfg.Streams == nil {
		cfg.Streams = []string{"event", "alert"}
	}
	var b *Bus
	until(t, "the cluster", func() bool {
		var err error
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		if b, err = Open(ctx, cfg, slog.New(slog.NewTextHandler(t.Output(), nil))); err != nil {
			t.Log(err)
		}
		return err == nil
	})
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// TestClusterLosesNothingWhileItsServersAreKilled publishes while one server
// of three after the other is killed and started again.
func TestClusterLosesNothingWhileItsServersAreKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	c := newCluster(t, 3, nil)
	b := c.open(t, Config{})
	var effects record
	if err := b.Join(t.Context(), OnBatch("event.>", "archive", 50, time.Second, func(ctx context.Context, bodies [][]byte) error {
		for _, body := range bodies {
			effects.add(string(body))
		}
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var published, refused int
	var gap time.Duration
	done := make(chan struct{})
	go func() { // ends with stop
		defer close(done)
		last := time.Now()
		for i := 0; ctx.Err() == nil; i++ {
			for ctx.Err() == nil {
				if err := b.Publish(ctx, "event.s.h", strconv.Itoa(i), []byte(strconv.Itoa(i))); err == nil {
					published = i + 1
					gap, last = max(gap, time.Since(last)), time.Now()
					break
				}
				refused++
			}
		}
	}()
	for round := range 3 {
		before := len(effects.all())
		c.kill(round)
		until(t, "work without the server", func() bool { return len(effects.all()) > before+50 })
		c.start(round)
		until(t, "the server's return", func() bool { return c.healthy(b) })
	}
	stop()
	<-done
	seen := map[string]int{}
	until(t, "every acknowledged message", func() bool {
		clear(seen)
		for _, id := range effects.all() {
			seen[id]++
		}
		for i := range published {
			if seen[strconv.Itoa(i)] == 0 {
				return false
			}
		}
		return true
	})
	again := 0
	for _, n := range seen {
		again += n - 1
	}
	t.Logf("%d acknowledged, longest pause %v, %d tries refused, %d delivered again", published, gap, refused, again)
}

// healthy says whether all servers carry the streams again.
func (c *cluster) healthy(b *Bus) bool {
	s, err := b.js.Stream(c.t.Context(), "EVENT")
	if err != nil {
		return false
	}
	info, err := s.Info(c.t.Context())
	if err != nil || info.Cluster == nil || info.Cluster.Leader == "" {
		return false
	}
	current := 0
	for _, p := range info.Cluster.Replicas {
		if p.Current && !p.Offline {
			current++
		}
	}
	return current == len(c.nodes)-1
}

func TestServerThatDoesNotSyncIsRefused(t *testing.T) {
	c := newCluster(t, 1, func(n *node) { n.Lazy = true })
	_, err := Open(t.Context(), Config{Hub: "a", External: &c.ext}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "sync_interval") {
		t.Fatalf("got %v, want a word about sync_interval", err)
	}
}

func TestClusterIsNotBelievedWithoutItsAuthority(t *testing.T) {
	c := newCluster(t, 1, nil)
	other, _, _ := certificate(t)
	wrong := c.ext
	wrong.CA = other
	if _, err := Open(t.Context(), Config{Hub: "a", External: &wrong}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a server with a foreign certificate was believed")
	}
	wrong = c.ext
	wrong.Credentials, _ = seed(t)
	if _, err := Open(t.Context(), Config{Hub: "a", External: &wrong}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("the server took foreign credentials")
	}
}
