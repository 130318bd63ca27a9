package api

import (
	"context"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/report"
)

// Document is a report that was made.
type Document struct {
	ID       string    `json:"id"`
	Incident string    `json:"incident"`
	No       int       `json:"no"`
	Digest   string    `json:"digest" doc:"hex SHA-256; the ledger holds it"`
	At       time.Time `json:"at"`
	By       string    `json:"by" doc:"person id"`
}

func documentOf(d report.Document) Document {
	return Document{d.ID, d.Incident, d.No, d.Digest, d.At, d.By}
}

// byDocument names a document within its incident: the incident's sites say
// who may read it.
type byDocument struct {
	ByID
	Document string `path:"document" maxLength:"100"`
	Lang     string `query:"lang" enum:"ja,en" doc:"language of the page; the reader's when absent"`
}

// pageRules lets a document that is shown by itself load and run nothing.
const pageRules = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"

// reporterOperations are about who reports; it belongs to no incident and to no
// site.
func (s *server) reporterOperations() {
	register(s, operation{"get-reporter", http.MethodGet, "/reporter", "Who reports, as it stands on the documents", 0}, fixed[none](auth.View, "report"),
		func(ctx context.Context, _ auth.Person, _ *none) (*body[report.Reporter], error) {
			r, err := s.Reports.Reporter(ctx)
			return &body[report.Reporter]{r}, err
		})
	register(s, operation{"set-reporter", http.MethodPut, "/reporter", "State who reports from now on", 0}, fixed[body[report.Reporter]](auth.Administer, "report"),
		func(ctx context.Context, who auth.Person, in *body[report.Reporter]) (*none, error) {
			return nil, s.Reports.SetReporter(ctx, in.Body, who)
		})
}

func (s *server) reportOperations() {
	s.reporterOperations()
	register(s, operation{"draft-report", http.MethodGet, "/incidents/{id}/draft", "The nine items as they stand", 0}, incidentRule[ByID](s, auth.View, "report"),
		func(ctx context.Context, who auth.Person, in *ByID) (*body[report.Data], error) {
			s.People.Viewed(ctx, who, "draft", in.ID)
			d, err := s.Reports.Draft(ctx, in.ID)
			return &body[report.Data]{d}, err
		})
	register(s, operation{"make-report", http.MethodPost, "/incidents/{id}/reports", "Make a document of the draft", http.StatusCreated}, incidentRule[ByID](s, auth.Report, "report"),
		func(ctx context.Context, who auth.Person, in *ByID) (*body[Document], error) {
			d, err := s.Reports.Make(ctx, in.ID, who)
			return &body[Document]{documentOf(d)}, err
		})
	register(s, operation{"list-reports", http.MethodGet, "/incidents/{id}/reports", "Documents that were made", 0}, incidentRule[ByID](s, auth.View, "report"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[Document]], error) {
			list, err := s.Reports.List(ctx, in.ID)
			out := make([]Document, len(list))
			for i, d := range list {
				out[i] = documentOf(d)
			}
			return paged(out, len(out)), err
		})
	register(s, operation{"get-report", http.MethodGet, "/incidents/{id}/reports/{document}", "One document as data", 0}, incidentRule[byDocument](s, auth.View, "report"),
		func(ctx context.Context, who auth.Person, in *byDocument) (*body[report.Data], error) {
			if err := s.belongs(ctx, in); err != nil {
				return nil, err
			}
			s.People.Viewed(ctx, who, "report", in.Document)
			d, err := s.Reports.JSON(ctx, in.Document)
			return &body[report.Data]{d}, err
		})
	register(s, operation{"print-report", http.MethodGet, "/incidents/{id}/reports/{document}/html", "One document as a page to print", 0}, incidentRule[byDocument](s, auth.View, "report"),
		func(ctx context.Context, who auth.Person, in *byDocument) (*huma.StreamResponse, error) {
			if err := s.belongs(ctx, in); err != nil {
				return nil, err
			}
			s.People.Viewed(ctx, who, "report", in.Document)
			lang := in.Lang
			if lang == "" {
				lang = language(callerOf(ctx).request, who)
			}
			return s.stream(http.Header{"Content-Type": {"text/html; charset=utf-8"}, "Content-Security-Policy": {pageRules}},
				func(ctx context.Context, w io.Writer) error { return s.Reports.HTML(ctx, in.Document, lang, w) }), nil
		})
}

// belongs refuses a document that is not of the incident for which the right
// was asked.
func (s *server) belongs(ctx context.Context, in *byDocument) error {
	list, err := s.Reports.List(ctx, in.ID)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(d report.Document) bool { return d.ID == in.Document }) {
		return fault.New(fault.Missing, "api.no-document")
	}
	return nil
}
