// Package rest speaks restic's REST protocol, versions 1 and 2, for the
// repositories of the hub.
//
// In: HTTP requests of restic below PREFIX/AGENT/ and PREFIX/AGENT/asof/TIME/.
// Out: what protect/repository answers to them. Always true: this package only
// translates, and holds no rule but who may come to which address; a client
// reaches its own repository and no other; below asof nothing can be written.
package rest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/restic"
)

// Role is what a client may do with one repository.
type Role int

// Roles.
const (
	Backup  Role = iota // write, and read what the next backup needs: no contents of files
	Restore             // read everything, also as of a time; write nothing
	Full                // both, as a site without the hub's agent needs it
)

// Client is who speaks.
type Client struct {
	Name  string // for locks and refusals
	Agent string // whose repository
	Role  Role
	AsOf  time.Time // what was received later does not exist for it; zero: all does
}

// Deps is what the handler needs.
type Deps struct {
	// Identify says who speaks, from the client certificate or the
	// authorization header, never from path or body: fault.Denied when it
	// cannot be said.
	Identify func(*http.Request) (Client, error)
	// Repository opens an agent's repository; repository.Service has it.
	Repository func(ctx context.Context, agent string) (*repository.Repository, error)
	// Denied is told of what a client asked for that it may not do, where its
	// repository was not even asked. It must not block. Nil: nobody is.
	Denied func(c Client, asked string, err error)
	Log    *slog.Logger
}

// Handler returns the routes, to be mounted below a prefix that is stripped.
func Handler(d Deps) http.Handler {
	h := &handler{d, d.Log.With("part", "rest")}
	m := http.NewServeMux()
	m.HandleFunc("POST /{agent}/{$}", h.route(h.create))
	m.HandleFunc("DELETE /{agent}/{$}", h.route(h.destroy))
	for _, at := range []string{"/{agent}", "/{agent}/asof/{time}"} {
		m.HandleFunc("GET "+at+"/config", h.route(h.get)) // HEAD too
		m.HandleFunc("GET "+at+"/{kind}/{$}", h.route(h.list))
		m.HandleFunc("GET "+at+"/{kind}/{name}", h.route(h.get))
		m.HandleFunc("POST "+at+"/config", h.route(h.put))
		m.HandleFunc("POST "+at+"/{kind}/{name}", h.route(h.put))
		m.HandleFunc("DELETE "+at+"/config", h.route(h.remove))
		m.HandleFunc("DELETE "+at+"/{kind}/{name}", h.route(h.remove))
	}
	return m
}

type handler struct {
	d   Deps
	log *slog.Logger
}

// call is one request of a client that is known.
type call struct {
	Client
	repo *repository.Repository
	view *repository.View
	past bool // below asof
	kind restic.Kind
	name string
}

const keyRole = "protect.role"

func denied(why string) error {
	return fault.New(fault.Denied, keyRole).With(errors.New(why))
}

// route finds out who speaks about what, and answers errors.
func (h *handler) route(f func(http.ResponseWriter, *http.Request, *call) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := h.call(r)
		if err == nil {
			err = f(w, r, c)
		}
		h.tell(r, c, err)
		if err == nil || r.Context().Err() != nil {
			return
		}
		status := status(err)
		if status >= http.StatusInternalServerError {
			h.log.Error("request not answered", "method", r.Method, "status", status, "err", err)
		}
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "5")
		}
		refuse(w, r, reason(err), status, c != nil)
	}
}

// Most bytes of a refused body that are read, and how long that may take: of packs
// as restic makes them unless it is told otherwise, nothing is left.
const (
	heardBytes = 32 << 20
	heardTime  = 20 * time.Second
)

// refuse answers at once, and then reads what a known client still sends: one that
// is writing when its connection ends is told of a broken connection by its system,
// never sees the reason, and tries again.
func refuse(w http.ResponseWriter, r *http.Request, why string, status int, known bool) {
	conn := http.NewResponseController(w)
	if !known || r.ContentLength == 0 || conn.EnableFullDuplex() != nil || conn.SetReadDeadline(time.Now().Add(heardTime)) != nil {
		http.Error(w, why, status)
		return
	}
	why += "\n"
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(why)))
	w.WriteHeader(status)
	_, err := io.WriteString(w, why)
	if err = errors.Join(err, conn.Flush()); err == nil {
		_, _ = io.CopyN(io.Discard, r.Body, heardBytes)
	}
}

// tell tells of what a known client may not do at this address; the repository
// tells of its own refusals.
func (h *handler) tell(r *http.Request, c *call, err error) {
	var f *fault.Error
	if h.d.Denied != nil && c != nil && errors.As(err, &f) && f.Kind == fault.Denied && f.Key == keyRole {
		h.d.Denied(c.Client, r.Method+" "+r.URL.Path, err)
	}
}

func (h *handler) call(r *http.Request) (*call, error) {
	client, err := h.d.Identify(r)
	if err != nil {
		return nil, err
	}
	c := &call{Client: client, kind: restic.Kind(r.PathValue("kind")), name: r.PathValue("name")}
	if client.Agent != r.PathValue("agent") {
		return c, denied("it is another agent's repository")
	}
	switch c.kind {
	case "":
		c.kind = restic.ConfigFile
	case restic.Data, restic.Keys, restic.Locks, restic.Snapshots, restic.Index:
	default:
		return nil, fault.New(fault.Missing, "protect.kind")
	}
	if c.repo, err = h.d.Repository(r.Context(), client.Agent); err != nil {
		return nil, err
	}
	var at time.Time
	if past := r.PathValue("time"); past != "" {
		if at, err = time.Parse(time.RFC3339, past); err != nil {
			return nil, fault.New(fault.Invalid, "protect.time").With(err)
		}
		if client.Role == Backup {
			return c, denied("an agent that backs up does not look into the past")
		}
		c.past = true
	}
	if !client.AsOf.IsZero() && (at.IsZero() || at.After(client.AsOf)) {
		at = client.AsOf
	}
	c.view = c.repo.AsOf(at)
	return c, nil
}

// status maps an error to what restic understands.
func status(err error) int {
	var f *fault.Error
	if errors.As(err, &f) && (f.Key == "protect.quota" || f.Key == "protect.full") {
		return http.StatusInsufficientStorage
	}
	switch fault.Of(err) {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Denied, fault.Conflict: // what is there is never changed
		return http.StatusForbidden
	case fault.Missing:
		return http.StatusNotFound
	case fault.Busy:
		return http.StatusServiceUnavailable
	}
	if errors.Is(err, fs.ErrNotExist) {
		return http.StatusNotFound
	}
	return http.StatusInternalServerError
}

// reason is what a client is told; what is ours stays in the log.
func reason(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Kind != "" {
		return f.Error()
	}
	return http.StatusText(status(err))
}

func (h *handler) create(w http.ResponseWriter, r *http.Request, c *call) error {
	if r.URL.Query().Get("create") != "true" || c.Role == Restore {
		return denied("nothing is written here but files")
	}
	return nil // the folders are there since the repository was opened
}

func (h *handler) destroy(http.ResponseWriter, *http.Request, *call) error {
	return denied("nobody removes a repository")
}

// Media types of the protocol's versions.
const (
	v1 = "application/vnd.x.restic.rest.v1"
	v2 = "application/vnd.x.restic.rest.v2"
)

func (h *handler) list(w http.ResponseWriter, r *http.Request, c *call) error {
	type file struct {
		Name string `json:"name"`
		Size int64  `json:"size"`
	}
	files, names := []file{}, []string{}
	err := c.view.List(r.Context(), c.kind, func(name string, size int64) error {
		files, names = append(files, file{name, size}), append(names, name)
		return nil
	})
	if err != nil {
		return err
	}
	var body any = names
	w.Header().Set("Content-Type", v1)
	if r.Header.Get("Accept") == v2 {
		body = files
		w.Header().Set("Content-Type", v2)
	}
	_ = json.NewEncoder(w).Encode(body) // a client that has gone needs no answer
	return nil
}

func (h *handler) get(w http.ResponseWriter, r *http.Request, c *call) error {
	if c.Role == Backup && c.kind == restic.Data && r.Method != http.MethodHead {
		trees, err := c.view.OnlyTrees(r.Context(), c.name)
		if err != nil {
			return err
		}
		if !trees {
			return denied("contents of files are read with the right to restore")
		}
	}
	f, err := c.view.Open(r.Context(), c.kind, c.name)
	if err != nil {
		return err
	}
	defer f.Close()
	w.Header().Set("Content-Type", "binary/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(f, 0, f.Size())) // with ranges
	return nil
}

func (h *handler) put(w http.ResponseWriter, r *http.Request, c *call) error {
	if c.past || c.Role == Restore {
		if c.kind == restic.Locks { // restic locks what it reads; here nothing can be taken away from it
			return nil
		}
		return denied("this is for reading")
	}
	return c.repo.Put(r.Context(), c.Client.Name, c.kind, c.name, r.ContentLength, &patient{r.Body, http.NewResponseController(w)})
}

func (h *handler) remove(w http.ResponseWriter, r *http.Request, c *call) error {
	if (c.past || c.Role == Restore) && c.kind == restic.Locks {
		return nil
	}
	return c.repo.Remove(r.Context(), c.Client.Name, c.kind, c.name)
}

// patience is how long a client may be silent inside a body.
const patience = time.Minute

// patient bounds a body in silence; its length is bounded where it is stored.
type patient struct {
	from io.Reader
	conn *http.ResponseController
}

func (p *patient) Read(b []byte) (int, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(patience)) // not every connection has one
	n, err := p.from.Read(b)
	if err != nil {
		_ = p.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}
