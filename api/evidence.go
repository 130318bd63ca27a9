package api

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/evidence"
)

// Export says why evidence leaves the hub; it goes into the custody record.
type Export struct {
	Purpose string `json:"purpose" minLength:"1" maxLength:"1000"`
}

// Attendance is who was present when evidence was taken and who approved it;
// one of them is enough.
type Attendance struct {
	Witness  string `json:"witness,omitempty" maxLength:"200"`
	Approver string `json:"approver,omitempty" maxLength:"200"`
}

type bagList struct {
	Paging
	Incident string `query:"incident" maxLength:"100"`
	Host     string `query:"host" maxLength:"100"`
	Site     string `query:"site" maxLength:"32"`
}

func (s *server) evidenceOperations() {
	register(s, operation{"list-evidence", http.MethodGet, "/evidence", "Evidence bags, newest first", 0},
		one(auth.View, "evidence", func(_ context.Context, who auth.Person, in *bagList) (auth.Resource, error) {
			return auth.Resource{Site: siteOr(in.Site, who)}, nil
		}),
		func(ctx context.Context, who auth.Person, in *bagList) (*body[page[evidence.Bag]], error) {
			list, total, err := s.Evidence.List(ctx, evidence.Filter{Incident: in.Incident, Host: in.Host, Site: siteOr(in.Site, who),
				Limit: in.Limit, Offset: in.Offset})
			return paged(list, total), err
		})
	register(s, operation{"get-evidence", http.MethodGet, "/evidence/{id}", "One evidence bag", 0}, bagRule[ByID](s, auth.View),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[evidence.Bag], error) {
			b, err := s.Evidence.Get(ctx, in.ID)
			return &body[evidence.Bag]{b}, err
		})
	register(s, operation{"list-custody", http.MethodGet, "/evidence/{id}/custody", "Who held the bag", 0}, bagRule[ByID](s, auth.View),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[evidence.Custody]], error) {
			list, err := s.Evidence.Custody(ctx, in.ID)
			return paged(list, len(list)), err
		})
	register(s, operation{"witness-evidence", http.MethodPost, "/evidence/{id}/witness", "Put witness and approver into the custody record", 0}, bagRule[withBody[Attendance]](s, auth.Preserve),
		func(ctx context.Context, who auth.Person, in *withBody[Attendance]) (*none, error) {
			return nil, s.Evidence.Attend(ctx, in.ID, in.Body.Witness, in.Body.Approver, who)
		})
	// a POST, because it writes a line into the custody record
	register(s, operation{"export-evidence", http.MethodPost, "/evidence/{id}/zip", "Download the bag as a zip file", 0}, bagRule[withBody[Export]](s, auth.Preserve),
		func(_ context.Context, who auth.Person, in *withBody[Export]) (*huma.StreamResponse, error) {
			return s.stream(http.Header{
				"Content-Type":        {"application/zip"},
				"Content-Disposition": {`attachment; filename="` + in.ID + `.zip"`},
			}, func(ctx context.Context, w io.Writer) error {
				return s.Evidence.Zip(ctx, in.ID, w, in.Body.Purpose, who)
			}), nil
		})
}

func bagRule[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, "evidence", func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		b, err := s.Evidence.Get(ctx, (*in).of())
		return auth.Resource{ID: b.ID, Site: b.Site}, err
	})
}

// stream answers with what f writes. An error before the first byte becomes a
// problem; a later one breaks the connection, so that nobody takes half a file
// for a whole one.
func (s *server) stream(h http.Header, f func(ctx context.Context, w io.Writer) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		lazy := &lazyWriter{w: w, header: h}
		err := f(hc.Context(), lazy)
		switch {
		case err == nil:
			lazy.start()
		case !lazy.started:
			s.write(w, r, err)
		case hc.Context().Err() != nil: // whoever asked has left, or reads nothing
			s.Log.Info("download was not read to its end", "pattern", r.Pattern, "err", err)
			panic(http.ErrAbortHandler)
		default:
			s.Log.Error("download broke off", "pattern", r.Pattern, "err", err)
			panic(http.ErrAbortHandler)
		}
	}}
}

// lazyWriter sends its headers with the first byte.
type lazyWriter struct {
	w       http.ResponseWriter
	header  http.Header
	started bool
}

func (l *lazyWriter) start() {
	if l.started {
		return
	}
	l.started = true
	for k, v := range l.header {
		l.w.Header()[k] = v
	}
	l.w.WriteHeader(http.StatusOK)
}

// Write sends b.
func (l *lazyWriter) Write(b []byte) (int, error) {
	l.start()
	return l.w.Write(b)
}
