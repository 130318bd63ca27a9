package api

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/report/sheet"
)

// Sheets is what the operations need from report/sheet.
type Sheets interface {
	Sheet(ctx context.Context, incident string) (sheet.Sheet, error)
	Keep(ctx context.Context, incident string, by auth.Person) (sheet.Kept, error)
	List(ctx context.Context, incident string) ([]sheet.Kept, error)
	Get(ctx context.Context, incident, id string) (sheet.Sheet, error)
	HTML(ctx context.Context, incident, id, lang string, w io.Writer) error
}

// bySheet names a kept version within its incident.
type bySheet struct {
	ByID
	Sheet string `path:"sheet" maxLength:"100"`
	Lang  string `query:"lang" enum:"ja,en" doc:"language of the page; the reader's when absent"`
}

func (s *server) sheetOperations() {
	s.handOperations()
	register(s, operation{"get-sheet", http.MethodGet, "/incidents/{id}/sheet", "The executive sheet as things stand", 0}, incidentRule[ByID](s, auth.View, "report"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[sheet.Sheet], error) {
			x, err := s.Sheets.Sheet(ctx, in.ID)
			return &body[sheet.Sheet]{x}, err
		})
	register(s, operation{"keep-sheet", http.MethodPost, "/incidents/{id}/sheets", "Keep the executive sheet as it stands as a version", http.StatusCreated}, incidentRule[ByID](s, auth.Report, "report"),
		func(ctx context.Context, who auth.Person, in *ByID) (*body[sheet.Kept], error) {
			k, err := s.Sheets.Keep(ctx, in.ID, who)
			return &body[sheet.Kept]{k}, err
		})
	register(s, operation{"list-sheets", http.MethodGet, "/incidents/{id}/sheets", "Versions of the executive sheet that were kept", 0}, incidentRule[ByID](s, auth.View, "report"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[sheet.Kept]], error) {
			list, err := s.Sheets.List(ctx, in.ID)
			return paged(list, len(list)), err
		})
	register(s, operation{"get-kept-sheet", http.MethodGet, "/incidents/{id}/sheets/{sheet}", "A kept version as data", 0}, incidentRule[bySheet](s, auth.View, "report"),
		func(ctx context.Context, who auth.Person, in *bySheet) (*body[sheet.Sheet], error) {
			s.People.Viewed(ctx, who, "sheet", in.Sheet)
			x, err := s.Sheets.Get(ctx, in.ID, in.Sheet)
			return &body[sheet.Sheet]{x}, err
		})
	register(s, operation{"print-sheet", http.MethodGet, "/incidents/{id}/sheets/{sheet}/html", "A kept version as a page of A3", 0}, incidentRule[bySheet](s, auth.View, "report"),
		func(ctx context.Context, who auth.Person, in *bySheet) (*huma.StreamResponse, error) {
			s.People.Viewed(ctx, who, "sheet", in.Sheet)
			lang := in.Lang
			if lang == "" {
				lang = language(callerOf(ctx).request, who)
			}
			return s.stream(http.Header{"Content-Type": {"text/html; charset=utf-8"}, "Content-Security-Policy": {pageRules}},
				func(ctx context.Context, w io.Writer) error { return s.Sheets.HTML(ctx, in.ID, in.Sheet, lang, w) }), nil
		})
}
