package ui

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/ui/view"
)

// statusOf is the status of an answer by what the error means.
func statusOf(k fault.Kind) int {
	switch k {
	case fault.Invalid:
		return http.StatusUnprocessableEntity
	case fault.Missing:
		return http.StatusNotFound
	case fault.Denied:
		return http.StatusForbidden
	case fault.Conflict:
		return http.StatusConflict
	case fault.Busy:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// words says an error to a person: what happened, what it means, what to do.
// The cause of an error without a Kind is logged and never shown.
func (c *call) words(err error) *view.Fault {
	var d denied
	if errors.As(err, &d) {
		mine := d.reason == "denied.own-request" || d.reason == "denied.role" // others learn nothing about who decides
		if mine && c.res.Kind == "action" && strings.HasSuffix(c.r.URL.Path, "/approve") {
			return c.notApprover()
		}
		f := &view.Fault{What: c.t("fault-kind.denied"), Do: c.t("fault-kind.denied.do")}
		if i18n.Has(d.reason) {
			f.Means = c.t(d.reason)
		}
		return f
	}
	var e *fault.Error
	if !errors.As(err, &e) {
		return &view.Fault{What: c.t("fault-kind.own"), Means: c.t("fault-kind.own.means"), Do: c.t("fault-kind.own.do")}
	}
	f := &view.Fault{What: c.t("fault-kind." + string(e.Kind)), Do: c.t("fault-kind." + string(e.Kind) + ".do")}
	key := "fault." + e.Key
	if i18n.Has(key) {
		f.What, f.Means = i18n.T(c.lang, key, i18n.Args(c.lang, e.Args)), c.t("fault-kind."+string(e.Kind))
	}
	return f
}

// fail answers with a page that says what went wrong.
func (c *call) fail(err error) {
	if c.ctx().Err() != nil { // the reader left
		return
	}
	kind := fault.Of(err)
	status := statusOf(kind)
	title := c.t("fault-title." + strconv.Itoa(status))
	var d denied
	if errors.As(err, &d) {
		status, title = http.StatusForbidden, c.t("fault-title.403")
	}
	if status == http.StatusInternalServerError {
		c.Log.Error("answer a request", "method", c.r.Method, "pattern", c.r.Pattern, "err", err)
	}
	if c.ctx().Value(gatherKey{}) != nil { // the live stream learns it from what is missing
		return
	}
	p := c.page("", title)
	p.Fault, p.Done = c.words(err), ""
	if err := c.show(screen{page: p, body: view.Problem(p), status: status}); err != nil {
		c.Log.Error("render the page about an error", "err", err)
		http.Error(c.w, title, status)
	}
}

// formFault says that a form could not be read.
func formFault(err error) error {
	var big *http.MaxBytesError
	if errors.As(err, &big) {
		return fault.New(fault.Invalid, "ui.too-large").With(err)
	}
	return fault.New(fault.Invalid, "ui.form").With(err)
}

func (s *server) stranger(w http.ResponseWriter, r *http.Request) *call {
	c := &call{server: s, w: w, r: r, at: s.Now(), who: s.viewer(r)}
	c.lang = language(r, c.who)
	c.Assets = s.register(c.lang)
	return c
}

func (s *server) notFound(w http.ResponseWriter, r *http.Request) {
	s.stranger(w, r).fail(errMissing)
}

// crossOrigin answers a form that another site sent.
func (s *server) crossOrigin(w http.ResponseWriter, r *http.Request) {
	s.Log.Warn("a form from another origin was refused", "path", r.URL.Path)
	s.stranger(w, r).fail(fault.New(fault.Denied, "ui.cross-origin"))
}
