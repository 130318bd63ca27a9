package bus

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sonae/sonae/fault"
)

// Leaf makes this the bus of a second site, which takes messages also while
// the line to the main hub is cut, and hands them on when it is there.
type Leaf struct {
	URL         string   // of the main hub's LeafListen, e.g. tls://hub.example:7422
	Credentials string   // file: the seed of this site's NKEY, or JWT credentials
	CA          string   // file: PEM of the main hub's authority
	Site        string   // as the main hub knows it
	Streams     []string // what is handed on; nil: "event"
}

// LeafListen lets buses of other sites hand on what they took.
type LeafListen struct {
	Addr  string            // host:port
	TLS   *tls.Config       // the hub's certificate
	Sites map[string]string // public NKEY → site: who may connect, and for whom it may speak
	// Check says whether a message may come from a site; it looks into what the
	// bus does not understand. An error of kind fault.Invalid or fault.Denied is
	// for good, any other is tried again.
	Check func(site, subject, id string, body []byte) error
}

// postAccount is where leaf and main hub speak with each other. It has no
// streams and no other subjects: whoever breaks into a leaf finds nothing else.
const postAccount = "POST"

// How the two speak: a request on up.<site> with these headers, answered with
// the status and, for a refusal, how long to wait.
const (
	postSubject = "Sonae-Subject"
	postID      = "Sonae-Id"
	postStatus  = "Sonae-Status" // "ok", or kind and key of the fault
	postWait    = "Sonae-Retry-After"

	postPing    = 5 * time.Second // a line that is silent for two of these is cut
	postTimeout = 4 * time.Second // for an answer
	postAgain   = time.Second     // between tries while the line is cut
	postAtOnce  = 32              // requests that the main hub works on at once
)

func upSubject(site string) string { return "up." + name(site) }
func upInbox(site string) string   { return "_INBOX.up-" + name(site) }

// line is the connection to the account of leaf and main hub.
type line struct {
	user, password string // of the hub itself, in the default account
	postUser       string
	addr           string // where leaves connect
	post           *nats.Conn
	cut            atomic.Bool
}

// join adds what the server needs for leaf connections. Every connection then
// has to log in, also those within this process.
func (l *line) join(o *server.Options, cfg Config) error {
	post := server.NewAccount(postAccount)
	l.user, l.postUser, l.password = "hub", "post", rand.Text()
	o.Accounts = []*server.Account{post}
	o.Users = []*server.User{{Username: l.user, Password: l.password}, {Username: l.postUser, Password: l.password, Account: post}}
	o.PingInterval, o.MaxPingsOut = postPing, 2
	if cfg.LeafListen != nil {
		return cfg.LeafListen.configure(o, post)
	}
	return cfg.Leaf.configure(o)
}

func (c *LeafListen) configure(o *server.Options, post *server.Account) error {
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return fmt.Errorf("leaf address: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("leaf address %s: %w", c.Addr, err)
	}
	if c.TLS == nil || c.Check == nil {
		return errors.New("leaves need a certificate and a check")
	}
	o.LeafNode = server.LeafNodeOpts{Host: host, Port: int(n), TLSConfig: c.TLS, TLSHandshakeFirst: true, TLSTimeout: 5, NoAdvertise: true, IsolateLeafnodeInterest: true}
	if n == 0 {
		o.LeafNode.Port = server.RANDOM_PORT
	}
	for key, site := range c.Sites {
		o.Nkeys = append(o.Nkeys, &server.NkeyUser{Nkey: key, Account: post, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{upSubject(site)}},
			Subscribe: &server.SubjectPermission{Allow: []string{upInbox(site) + ".>"}},
		}})
	}
	return nil
}

func (c *Leaf) configure(o *server.Options) error {
	u, err := url.Parse(c.URL)
	if err != nil {
		return fmt.Errorf("address of the main hub: %w", err)
	}
	pool, err := authority(c.CA)
	if err != nil {
		return err
	}
	remote := &server.RemoteLeafOpts{URLs: []*url.URL{u}, LocalAccount: postAccount, TLS: true, TLSHandshakeFirst: true, TLSTimeout: 5,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: u.Hostname()}, IgnoreDiscoveredServers: true}
	text, err := os.ReadFile(c.Credentials)
	if err != nil {
		return fmt.Errorf("read credentials: %w", err)
	}
	if strings.Contains(string(text), "BEGIN NATS USER JWT") {
		remote.Credentials = c.Credentials
	} else {
		remote.Nkey = strings.TrimSpace(string(text))
	}
	o.JetStreamDomain = "leaf-" + name(c.Site)
	o.LeafNode = server.LeafNodeOpts{ReconnectInterval: postAgain, Remotes: []*server.RemoteLeafOpts{remote}}
	return nil
}

// connectLine connects to the account of leaf and main hub, if this bus is one
// of them. The server has put the port that it got into its options.
func (b *Bus) connectLine(o *server.Options) (err error) {
	if b.line == nil {
		return nil
	}
	if b.cfg.LeafListen != nil {
		b.line.addr = net.JoinHostPort(o.LeafNode.Host, strconv.Itoa(o.LeafNode.Port))
	}
	opts := []nats.Option{nats.InProcessServer(b.server), nats.MaxReconnects(-1), nats.UserInfo(b.line.postUser, b.line.password)}
	if b.cfg.Leaf != nil {
		opts = append(opts, nats.CustomInboxPrefix(upInbox(b.cfg.Leaf.Site)))
	}
	b.line.post, err = nats.Connect("", opts...)
	return err
}

// LeafAddr is where leaves connect, for a configured port of 0.
func (b *Bus) LeafAddr() string {
	if b.line == nil {
		return ""
	}
	return b.line.addr
}

// uplink hands on what this leaf takes: its join exists from the first moment,
// so nothing is forgotten before the line was ever there.
func (b *Bus) uplink(ctx context.Context) error {
	streams := b.cfg.Leaf.Streams
	if streams == nil {
		streams = []string{"event"}
	}
	for _, s := range streams {
		j := Join{subject: s + ".>", name: "uplink", max: 1, wait: 5 * time.Second, raw: b.handOn}
		if _, cut := b.parts[s]; cut {
			j = j.Partitioned()
		}
		if err := b.Join(ctx, j); err != nil {
			return err
		}
	}
	return nil
}

// handOn gives one message to the main hub, again and again with the same id
// until it is taken or refused for good.
func (b *Bus) handOn(ctx context.Context, m jetstream.Msg) error {
	up := nats.NewMsg(upSubject(b.cfg.Leaf.Site))
	up.Data = m.Data()
	up.Header.Set(postSubject, plain(m.Subject()))
	up.Header.Set(postID, m.Headers().Get(jetstream.MsgIDHeader))
	for {
		wait, err := b.ask(ctx, up)
		if err == nil || ctx.Err() != nil || fault.Of(err) == fault.Invalid {
			return err
		}
		sleep(ctx, wait)
	}
}

// ask asks the main hub once to take a message.
func (b *Bus) ask(ctx context.Context, up *nats.Msg) (wait time.Duration, err error) {
	try, stop := context.WithTimeout(ctx, postTimeout)
	defer stop()
	answer, err := b.line.post.RequestMsgWithContext(try, up)
	if errors.Is(err, nats.ErrMaxPayload) {
		return 0, fault.New(fault.Invalid, "bus.too-large", len(up.Data)>>10, maxPayload>>10).With(err)
	}
	if err != nil {
		if ctx.Err() == nil && !b.line.cut.Swap(true) {
			b.log.Warn("main hub not reached, messages are kept", "err", err)
		}
		return postAgain, err
	}
	if b.line.cut.Swap(false) {
		b.log.Info("main hub reached again")
	}
	status := answer.Header.Get(postStatus)
	if status == "ok" {
		return 0, nil
	}
	kind, key, _ := strings.Cut(status, " ")
	switch fault.Kind(kind) {
	case fault.Invalid, fault.Denied:
		return 0, fault.New(fault.Invalid, "bus.leaf").With(fmt.Errorf("main hub: %s", key))
	}
	seconds, err := strconv.ParseFloat(answer.Header.Get(postWait), 64)
	if err != nil || seconds < 0 || seconds > 60 {
		seconds = 5
	}
	return time.Duration(seconds * float64(time.Second)), fmt.Errorf("main hub refuses: %s", status)
}

// serveLeaves takes what leaves hand on, through the same door as everything
// else that comes from outside.
func (b *Bus) serveLeaves() error {
	asked := make(chan *nats.Msg, postAtOnce) // what does not fit is asked again
	if _, err := b.line.post.ChanSubscribe("up.*", asked); err != nil {
		return err
	}
	for range postAtOnce {
		b.pumps.Go(func() {
			for {
				select {
				case <-b.life.Done():
					return
				case m := <-asked:
					b.answerLeaf(m)
				}
			}
		})
	}
	return nil
}

// answerLeaf takes one message of a leaf and says what became of it.
func (b *Bus) answerLeaf(m *nats.Msg) {
	site, ok := b.leafSite(m.Subject)
	if !ok || !strings.HasPrefix(m.Reply, upInbox(site)+".") { // an answer must not reach another site
		return
	}
	answer := nats.NewMsg(m.Reply)
	answer.Header.Set(postStatus, "ok")
	if err := b.takeFrom(site, m.Header.Get(postSubject), m.Header.Get(postID), m.Data); err != nil {
		key := "bus.internal"
		var f *fault.Error
		if errors.As(err, &f) {
			key = f.Key
		}
		answer.Header.Set(postStatus, string(fault.Of(err))+" "+key)
		var known interface{ RetryAfter() time.Duration }
		if errors.As(err, &known) {
			answer.Header.Set(postWait, strconv.FormatFloat(known.RetryAfter().Seconds(), 'f', 3, 64))
		}
		if fault.Of(err) != fault.Busy {
			b.log.Error("message of a leaf not taken", "site", site, "err", err)
		}
	}
	if err := b.line.post.PublishMsg(answer); err != nil {
		b.log.Warn("leaf not answered", "site", site, "err", err) // it asks again
	}
}

// leafSite finds the site that a subject speaks for.
func (b *Bus) leafSite(subject string) (string, bool) {
	for _, site := range b.cfg.LeafListen.Sites {
		if upSubject(site) == subject {
			return site, true
		}
	}
	return "", false
}

// takeFrom offers a message of a leaf. The subject must be of its site, and
// the id begin with its last token, so that a leaf cannot take the id of
// another's message and make that vanish as a repeat.
func (b *Bus) takeFrom(site, subject, id string, body []byte) error {
	p := strings.Split(subject, ".")
	if len(p) != 3 || p[1] != site || strings.HasPrefix(p[1], "@") || p[2] == "" || strings.ContainsAny(subject, " *>\t\r\n") || !strings.HasPrefix(id, p[2]+".") {
		return fault.New(fault.Denied, "bus.leaf")
	}
	if err := b.cfg.LeafListen.Check(site, subject, id, body); err != nil {
		return err
	}
	return b.Offer(b.life, subject, id, body)
}
