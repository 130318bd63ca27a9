package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/source/agentlink"
)

// edge is the doors of the hub, in the order in which they open.
type edge []door

// door is one listening address with what answers there.
type door struct {
	name   string
	listen func() (net.Listener, error)
	server *http.Server
	tls    bool
	closed func() // ends long answers, so that Shutdown can finish
}

// serve opens all doors before it returns; they close when ctx ends.
func (e edge) serve(ctx context.Context, g *errgroup.Group, log *slog.Logger) error {
	for _, d := range e {
		l, err := d.listen()
		if err != nil {
			return fmt.Errorf("open %s: %w", d.name, err)
		}
		d.server.ErrorLog = slog.NewLogLogger(log.With("part", d.name).Handler(), slog.LevelDebug) // refused handshakes and the like
		g.Go(func() error { return d.serve(l) })
		g.Go(func() error { return d.shut(ctx) })
	}
	return nil
}

func (d door) serve(l net.Listener) error {
	var err error
	if d.tls {
		err = d.server.ServeTLS(l, "", "")
	} else {
		err = d.server.Serve(l)
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

// openEdge makes the doors. Nothing listens yet.
func (h *Hub) openEdge(context.Context) error {
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
	main.Handle("/api/v1/", h.openAPI())
	main.Handle("/", pages)

	public := pageServer(main)
	public.TLSConfig = agentlink.ServerTLS(certificate, nil)
	h.edge = edge{
		{name: "agents' port", listen: tcp(h.cfg.Agents), tls: true, closed: h.link.Close,
			server: agentlink.HTTPServer(h.link.Handler(), agentlink.ServerTLS(certificate, h.keys.Pool()))},
		{name: "pages", listen: tcp(h.cfg.Listen), tls: true, server: public, closed: h.live.Close},
		{name: "control", listen: unixSocket(h.cfg.path("control.sock")), server: pageServer(h.control())},
	}
	if h.cfg.Local != "" {
		local := http.NewServeMux()
		local.Handle("GET /metrics", h.metrics())
		local.Handle("/", main)
		h.edge = append(h.edge, door{name: "local pages", listen: tcp(h.cfg.Local), server: pageServer(local)})
	}
	return nil
}

// pageServer bounds how long a request may take to arrive. Answers may last:
// live pages and evidence are long.
func pageServer(handler http.Handler) *http.Server {
	return &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
}

func tcp(addr string) func() (net.Listener, error) {
	return func() (net.Listener, error) { return net.Listen("tcp", addr) }
}

// unixSocket listens where only the owner of the folder can come. A socket
// that a killed hub left behind is removed; two hubs on one folder are
// prevented by the bus's and the state's own locks before this.
func unixSocket(path string) func() (net.Listener, error) {
	return func() (net.Listener, error) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		l, err := net.Listen("unix", path)
		if err != nil {
			return nil, err
		}
		return l, os.Chmod(path, 0o600)
	}
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
