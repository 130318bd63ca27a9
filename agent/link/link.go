// Package link is the agent's side of the connection to the hub.
//
// In: an enrolment token, batches from the spool, results, evidence. Out: an
// identity, signed orders (not opened yet), the hub's clock. Always true: the
// private key is made on the machine and never leaves it; the hub is
// recognised by its own authority and nothing else, from the first contact on;
// the hub's addresses are literal, so that no name has to be resolved while
// the machine is isolated; nothing is removed from the spool or the result
// queue before the hub has taken it.
package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// Times of the connection.
const (
	dialTimeout = 3 * time.Second
	callTimeout = 30 * time.Second
	silence     = 25 * time.Second // of the order stream: the hub speaks every 10 s
)

// Refused is an answer of the hub that is not a success.
type Refused struct {
	Status int
	Key    string
	After  time.Duration // how long the hub asks to wait; 0 when it does not say
}

func (r *Refused) Error() string { return fmt.Sprintf("hub refused: %d %s", r.Status, r.Key) }

// Final says whether asking again with the same body is useless.
func (r *Refused) Final() bool {
	switch r.Status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge:
		return true
	}
	return false
}

func final(err error) bool {
	var r *Refused
	return errors.As(err, &r) && r.Final()
}

// Client speaks to the hub with the agent's identity. It is safe for
// concurrent use.
type Client struct {
	dir  string
	host string // name or address in the hub's URL
	base string
	hub  *url.URL
	conf *tls.Config
	http *http.Client
	log  *slog.Logger

	mu   sync.Mutex
	id   Identity
	live netip.AddrPort // where the hub answered last
}

// Dial makes a client; it connects when it is used. dir is where the identity
// is kept, for a hub that moves to another address.
func Dial(dir string, id Identity, log *slog.Logger) (*Client, error) {
	u, err := url.Parse(id.Hub)
	if err != nil {
		return nil, fmt.Errorf("hub address: %w", err)
	}
	cert, err := tls.X509KeyPair([]byte(id.Certificate), []byte(id.Key))
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(id.CA)) {
		return nil, errors.New("identity: the hub's authority is not PEM")
	}
	c := &Client{dir: dir, host: u.Hostname(), base: strings.TrimSuffix(id.Hub, "/"), hub: u, id: id, log: log.With("part", "link")}
	c.conf = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{cert}, ServerName: c.host, NextProtos: []string{"http/1.1"}}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialTLSContext:        c.dial,
			ResponseHeaderTimeout: 2 * time.Minute, // a large item is synced before the answer
			ExpectContinueTimeout: 2 * time.Second,
			IdleConnTimeout:       time.Minute,
			MaxIdleConnsPerHost:   8, // restic uses five
			DisableCompression:    true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Identity returns who the agent is.
func (c *Client) Identity() Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

// HubAddress is the address at which the hub answered last; the zero value
// before it ever did. It is what an isolation must keep open.
func (c *Client) HubAddress() netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live
}

// dial tries the pinned addresses, the one that answered last first. Only when
// none answers is the hub's name looked up again: the hub may have moved. An
// address counts once the hub has proved itself there.
func (c *Client) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c.mu.Lock()
	known := slices.Clone(c.id.Addresses)
	if c.live.IsValid() {
		known = append([]netip.AddrPort{c.live}, slices.DeleteFunc(known, func(a netip.AddrPort) bool { return a == c.live })...)
	}
	c.mu.Unlock()
	var errs []error
	for _, a := range known {
		conn, err := c.dialOne(ctx, a)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	found, err := resolve(ctx, addr)
	errs = append(errs, err)
	for _, a := range found {
		if slices.Contains(known, a) {
			continue
		}
		conn, err := c.dialOne(ctx, a)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (c *Client) dialOne(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	d := tls.Dialer{Config: c.conf}
	conn, err := d.DialContext(ctx, "tcp", a.String())
	if err != nil {
		return nil, err
	}
	c.pin(a)
	return conn, nil
}

// pin remembers where the hub proved itself.
func (c *Client) pin(a netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live = a
	if slices.Contains(c.id.Addresses, a) {
		return
	}
	c.id.Addresses = append([]netip.AddrPort{a}, c.id.Addresses...)
	c.id.Addresses = c.id.Addresses[:min(len(c.id.Addresses), maxAddresses)]
	if err := c.id.save(c.dir); err != nil {
		c.log.Error("hub's new address not kept", "err", err)
	}
}

// call sends one request and checks the answer. into may be nil.
func (c *Client) call(ctx context.Context, method, path, kind string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", kind)
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer res.Body.Close()
	if err := accepted(res); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 256 << 10

// accepted turns an answer that is no success into Refused.
func accepted(res *http.Response) error {
	if res.StatusCode == http.StatusOK || res.StatusCode == http.StatusNoContent {
		return nil
	}
	var why wire.Refusal
	_ = json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&why) // the status says enough
	return &Refused{Status: res.StatusCode, Key: why.Key, After: retryAfter(res.Header.Get("Retry-After"))}
}

// maxAfter bounds how long a hub can make an agent wait.
const maxAfter = 2 * time.Minute

// retryAfter reads whole seconds; anything else is 0.
func retryAfter(header string) time.Duration {
	n, err := strconv.ParseUint(header, 10, 32)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, maxAfter)
}

// Batch hands over one encoded batch; nil means that the hub has it for good.
func (c *Client) Batch(ctx context.Context, data []byte) error {
	return c.call(ctx, http.MethodPost, "/agent/v1/batch", "application/zstd", data, nil)
}

// Heartbeat tells the hub that the agent lives and returns the hub's clock.
func (c *Client) Heartbeat(ctx context.Context, b wire.Heartbeat) (wire.HeartbeatReply, error) {
	var reply wire.HeartbeatReply
	body, err := json.Marshal(b)
	if err != nil {
		return reply, fmt.Errorf("heartbeat: %w", err)
	}
	return reply, c.call(ctx, http.MethodPost, "/agent/v1/heartbeat", "application/json", body, &reply)
}

// Result hands over one result.
func (c *Client) Result(ctx context.Context, r order.Result) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("result: %w", err)
	}
	return c.call(ctx, http.MethodPost, "/agent/v1/results", "application/json", body, nil)
}
