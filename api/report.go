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

// Document is a document that was made.
type Document struct {
	ID         string     `json:"id"`
	Incident   string     `json:"incident"`
	No         int        `json:"no" doc:"from 1 in the incident"`
	Kind       string     `json:"kind"`
	Group      string     `json:"group,omitempty" doc:"id of the group of persons it is for"`
	Version    int        `json:"version" doc:"from 1 for its kind and group"`
	Digest     string     `json:"digest" doc:"hex SHA-256; the ledger holds it"`
	At         time.Time  `json:"at"`
	By         string     `json:"by" doc:"person id"`
	ApprovedAt *time.Time `json:"approved_at,omitempty" doc:"absent: a draft"`
	ApprovedBy string     `json:"approved_by,omitempty" doc:"person id"`
}

func documentOf(d report.Document) Document {
	out := Document{ID: d.ID, Incident: d.Incident, No: d.No, Kind: d.Kind, Group: d.Part, Version: d.Version, Digest: d.Digest, At: d.At, By: d.By, ApprovedBy: d.ApprovedBy}
	if d.Approved() {
		out.ApprovedAt = &d.ApprovedAt
	}
	return out
}

// ByOrder says which document is wanted. (Exported like Paging.)
type ByOrder struct {
	ByID
	Kind  string `query:"kind" maxLength:"40" default:"prompt" doc:"see the documents of the incident"`
	Group string `query:"group" maxLength:"20" doc:"id of the group of persons, where the kind has groups"`
}

func (o ByOrder) order() report.Order { return report.Order{Kind: o.Kind, Group: o.Group} }

// byDocument names a document within its incident: the incident's sites say
// who may read it.
type byDocument struct {
	ByID
	Document string `path:"document" maxLength:"100"`
	Lang     string `query:"lang" enum:"ja,en" doc:"language of the page; the reader's when absent"`
}

// ByFormat names a document in a format. (Exported like Paging.)
type ByFormat struct {
	ByID
	Document string `path:"document" maxLength:"100"`
	Format   string `path:"format" enum:"docx,xlsx,pdf,txt,json,stix.json,misp.json"`
	Lang     string `query:"lang" enum:"ja,en" doc:"language of the file; the reader's when absent"`
}

func (in ByFormat) document() *byDocument { return &byDocument{in.ByID, in.Document, in.Lang} }

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
	s.documentOperations()
	register(s, operation{"draft-report", http.MethodGet, "/incidents/{id}/draft", "A document of a kind as things stand", 0}, incidentRule[ByOrder](s, auth.View, "report"),
		func(ctx context.Context, who auth.Person, in *ByOrder) (*body[report.Data], error) {
			s.People.Viewed(ctx, who, "draft", in.ID)
			d, err := s.Reports.Draft(ctx, in.ID, in.order())
			return &body[report.Data]{d}, err
		})
	register(s, operation{"make-report", http.MethodPost, "/incidents/{id}/reports", "Make a document of the draft", http.StatusCreated}, incidentRule[ByOrder](s, auth.Report, "report"),
		func(ctx context.Context, who auth.Person, in *ByOrder) (*body[Document], error) {
			d, err := s.Reports.Make(ctx, in.ID, in.order(), who)
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
			if err := s.look(ctx, in, report.JSON, who); err != nil {
				return nil, err
			}
			d, err := s.Reports.JSON(ctx, in.Document)
			return &body[report.Data]{d}, err
		})
	register(s, operation{"print-report", http.MethodGet, "/incidents/{id}/reports/{document}/html", "One document as a page to print", 0}, incidentRule[byDocument](s, auth.View, "report"),
		func(ctx context.Context, who auth.Person, in *byDocument) (*huma.StreamResponse, error) {
			if err := s.look(ctx, in, "html", who); err != nil {
				return nil, err
			}
			lang := s.languageOf(ctx, in.Lang, who)
			return s.stream(http.Header{"Content-Type": {"text/html; charset=utf-8"}, "Content-Security-Policy": {pageRules}},
				func(ctx context.Context, w io.Writer) error { return s.Reports.HTML(ctx, in.Document, lang, w) }), nil
		})
}

// look finds a document of the incident for which the right was asked, and
// records that somebody takes it.
func (s *server) look(ctx context.Context, in *byDocument, format string, who auth.Person) error {
	d, err := s.belongs(ctx, in)
	if err != nil {
		return err
	}
	s.People.Viewed(ctx, who, "report", d.ID)
	return s.Reports.Viewed(ctx, d, format, who)
}

// belongs refuses a document that is not of the incident for which the right
// was asked.
func (s *server) belongs(ctx context.Context, in *byDocument) (report.Document, error) {
	list, err := s.Reports.List(ctx, in.ID)
	if err != nil {
		return report.Document{}, err
	}
	i := slices.IndexFunc(list, func(d report.Document) bool { return d.ID == in.Document })
	if i < 0 {
		return report.Document{}, fault.New(fault.Missing, "api.no-document")
	}
	return list[i], nil
}

// languageOf is the language asked for, else the reader's.
func (s *server) languageOf(ctx context.Context, asked string, who auth.Person) string {
	if asked != "" {
		return asked
	}
	return language(callerOf(ctx).request, who)
}
