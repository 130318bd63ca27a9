package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/action/device/hook"
	"github.com/sonae/sonae/source/agentlink"
)

// edge is the doors of the hub.
type edge []door

// door is one listening address with what answers there.
type door struct {
	name     string
	listener net.Listener
	server   *http.Server
	tls      bool
	closed   func() // ends long answers, so that Shutdown can finish
}

// serve answers at all doors until ctx ends.
func (e edge) serve(ctx context.Context, g *errgroup.Group) {
	for _, d := range e {
		g.Go(d.serve)
		g.Go(func() error { return d.shut(ctx) })
	}
}

func (d door) serve() error {
	var err error
	if d.tls {
		err = d.server.ServeTLS(d.listener, "", "")
	} else {
		err = d.server.Serve(d.listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("%s: %w", d.name, err)
}

func (d door) shut(ctx context.Context) error {
	<-ctx.Done()
	if d.closed != nil {
		d.closed()
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	if err := d.server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("close %s: %w", d.name, err), d.server.Close())
	}
	return nil
}

// Addresses are where the hub listens, as "host:port".
type Addresses struct {
	Pages  string // pages and API over HTTPS
	Local  string // pages and API over plain HTTP; empty: none
	Agents string
	Flows  string // NetFlow, IPFIX and sFlow; empty: none
}

// Addresses tells where the hub listens. Ports that were left to the system
// are those that it chose.
func (h *Hub) Addresses() Addresses {
	return Addresses{Pages: h.cfg.Listen, Local: h.cfg.Local, Agents: h.cfg.Agents, Flows: h.cfg.Sensors.Flows}
}

// listen takes an address, and writes back the port when the system chose it.
// Callers are answered once Run serves.
func (h *Hub) listen(network string, addr *string) (net.Listener, error) {
	l, err := net.Listen(network, *addr)
	if err != nil {
		return nil, err
	}
	h.onClose(func() error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	if tcp, ok := l.Addr().(*net.TCPAddr); ok {
		host, _, err := net.SplitHostPort(*addr)
		if err != nil {
			return nil, err
		}
		*addr = net.JoinHostPort(host, strconv.Itoa(tcp.Port))
	}
	return l, nil
}

// openEdge opens the doors; nobody answers there yet.
func (h *Hub) openEdge(context.Context) error {
	socket, closed, err := ControlSocket(h.cfg.Dir)
	if err != nil {
		return err
	}
	h.onClose(closed)
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) { // a killed hub leaves it; a living one has the lock
		return err
	}
	agents, err := h.listen("tcp", &h.cfg.Agents)
	if err != nil {
		return fmt.Errorf("agents' port: %w", err)
	}
	public, err := h.listen("tcp", &h.cfg.Listen)
	if err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	control, err := h.listen("unix", &socket)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return err
	}
	var local net.Listener
	if h.cfg.Local != "" {
		if local, err = h.listen("tcp", &h.cfg.Local); err != nil {
			return fmt.Errorf("local pages: %w", err)
		}
	}
	return h.openDoors(agents, public, control, local)
}

// openDoors says what answers at each listener; local may be nil.
func (h *Hub) openDoors(agents, public, control, local net.Listener) error {
	names, ips := h.cfg.names()
	certificate := h.keys.ServerSource(names, ips)
	h.openLink()
	pages, err := h.openPages()
	if err != nil {
		return err
	}
	main := http.NewServeMux()
	main.HandleFunc("GET /healthz", healthy)
	main.HandleFunc("GET /readyz", h.ready)
	main.Handle("GET /blocklist/{id}", hook.Handler(h.devices, h.part("device")))
	main.Handle("/api/v1/", h.openAPI())
	main.Handle("/", pages)

	server := h.pageServer(main)
	server.TLSConfig = agentlink.ServerTLS(certificate, nil)
	machines := agentlink.HTTPServer(h.forMachines(), agentlink.ServerTLS(certificate, h.keys.Pool()))
	machines.ErrorLog = h.serverLog()
	h.edge = edge{
		{name: "agents' port", listener: agents, tls: true, closed: h.link.Close,
			server: machines},
		{name: "pages", listener: public, tls: true, server: server, closed: h.live.Close},
		{name: "control", listener: control, server: h.pageServer(h.control())},
	}
	if local != nil {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", h.metrics())
		mux.Handle("/", main)
		h.edge = append(h.edge, door{name: "local pages", listener: local, server: h.pageServer(mux)})
	}
	return nil
}

// pageServer bounds how long a request may take to arrive, and how long nobody
// may read its answer.
func (h *Hub) pageServer(handler http.Handler) *http.Server {
	return &http.Server{Handler: steady(handler, h.cfg.Stall), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: h.serverLog()}
}

// serverLog receives what net/http has to say, such as failed handshakes.
func (h *Hub) serverLog() *log.Logger {
	return slog.NewLogLogger(h.part("http").Handler(), slog.LevelWarn)
}

func healthy(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") }

// ready says whether the hub can take in and store.
func (h *Hub) ready(w http.ResponseWriter, r *http.Request) {
	if err := h.probe(r.Context()); err != nil {
		h.log.Warn("not ready", "err", err)
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ready\n")
}

// probe asks each store whether it answers.
func (h *Hub) probe(ctx context.Context) error {
	var one int
	if err := h.state.QueryRow(ctx, `SELECT 1`).Scan(&one); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if _, err := h.bus.Lags(ctx); err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	if _, err := h.ledger.Checkpoint(ctx); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}
