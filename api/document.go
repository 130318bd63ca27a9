package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/report"
)

// Needed is a kind of document and how it stands in an incident.
type Needed struct {
	Kind    string     `json:"kind"`
	Name    string     `json:"name" doc:"in the reader's language"`
	TLP     string     `json:"tlp"`
	Groups  bool       `json:"groups" doc:"one for each group of persons"`
	Formats []string   `json:"formats" doc:"besides HTML and JSON"`
	Needed  bool       `json:"needed"`
	Clock   string     `json:"clock,omitempty" doc:"id of the first open clock that it meets"`
	Made    []Document `json:"made" doc:"newest first"`
}

type fileOut struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Options     string `header:"X-Content-Type-Options"`
	Body        []byte
}

// contentType is that of a format of documents.
func contentType(format string) string {
	t := map[string]string{
		report.Docx: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
		report.Xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
		report.PDF:  "application/pdf", report.Txt: "text/plain; charset=utf-8",
		report.STIX: "application/stix+json;version=2.1",
	}[format]
	if t == "" {
		return "application/json"
	}
	return t
}

func fileOf(f report.File) *fileOut {
	return &fileOut{contentType(f.Format), fmt.Sprintf("attachment; filename=%q", f.Name), "nosniff", f.Body}
}

// documentOperations are about what incidents need besides the nine items.
func (s *server) documentOperations() {
	register(s, operation{"list-documents", http.MethodGet, "/incidents/{id}/documents", "Which documents are needed now, and which are made", 0}, incidentRule[ByID](s, auth.View, "report"),
		func(ctx context.Context, who auth.Person, in *ByID) (*body[page[Needed]], error) {
			needs, err := s.needs(ctx, in.ID)
			var out []Needed
			for _, n := range needs {
				out = append(out, neededOf(n, s.languageOf(ctx, "", who)))
			}
			return paged(out, len(out)), err
		})
	register(s, operation{"approve-report", http.MethodPost, "/incidents/{id}/reports/{document}/approve", "Stand behind a document that somebody else made", 0}, incidentRule[byDocument](s, auth.Report, "report"),
		func(ctx context.Context, who auth.Person, in *byDocument) (*none, error) {
			if _, err := s.belongs(ctx, in); err != nil {
				return nil, err
			}
			return nil, s.Reports.Approve(ctx, in.Document, who)
		})
	register(s, operation{"get-report-file", http.MethodGet, "/incidents/{id}/reports/{document}/files/{format}", "One document in another format", 0}, incidentRule[ByFormat](s, auth.View, "report"),
		func(ctx context.Context, who auth.Person, in *ByFormat) (*fileOut, error) {
			if err := s.look(ctx, in.document(), in.Format, who); err != nil {
				return nil, err
			}
			f, err := s.Reports.File(ctx, in.Document, s.languageOf(ctx, in.Lang, who), in.Format)
			if err != nil {
				return nil, err
			}
			return fileOf(f), nil
		})
	register(s, operation{"get-report-proof", http.MethodGet, "/incidents/{id}/reports/{document}/files/{format}/proof", "The proof that lies beside a file for sonae verify", 0}, incidentRule[ByFormat](s, auth.View, "report"),
		func(ctx context.Context, who auth.Person, in *ByFormat) (*fileOut, error) {
			if _, err := s.belongs(ctx, in.document()); err != nil {
				return nil, err
			}
			f, err := s.Reports.Proof(ctx, in.Document, s.languageOf(ctx, in.Lang, who), in.Format)
			if err != nil {
				return nil, err
			}
			return fileOf(f), nil
		})
	s.particularOperations()
}

func (s *server) particularOperations() {
	register(s, operation{"get-particulars", http.MethodGet, "/incidents/{id}/particulars", "What only documents need to know of an incident", 0}, incidentRule[ByID](s, auth.View, "report"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[report.Particulars], error) {
			p, err := s.Reports.Particulars(ctx, in.ID)
			if p.Groups == nil {
				p.Groups = []report.Group{}
			}
			return &body[report.Particulars]{p}, err
		})
	register(s, operation{"set-particulars", http.MethodPut, "/incidents/{id}/particulars", "State the particulars of the documents", 0}, incidentRule[withBody[report.Particulars]](s, auth.Report, "report"),
		func(ctx context.Context, who auth.Person, in *withBody[report.Particulars]) (*none, error) {
			return nil, s.Reports.SetParticulars(ctx, in.ID, in.Body, who)
		})
	register(s, operation{"list-template-problems", http.MethodGet, "/templates", "What is wrong with the site's own templates", 0}, fixed[none](auth.View, "report"),
		func(_ context.Context, _ auth.Person, _ *none) (*body[page[report.Problem]], error) {
			list, err := s.Reports.TemplateProblems()
			return paged(list, len(list)), err
		})
	register(s, operation{"get-template", http.MethodGet, "/templates/{id}", "A template that comes with Sonae, to begin one's own with", 0}, fixed[ByID](auth.View, "report"),
		func(_ context.Context, _ auth.Person, in *ByID) (*fileOut, error) {
			b, err := s.Reports.Template(in.ID)
			if err != nil {
				return nil, err
			}
			return &fileOut{"text/plain; charset=utf-8", fmt.Sprintf("attachment; filename=%q", in.ID), "nosniff", b}, nil
		})
}

// needs puts the documents of an incident beside what the law asks. Without
// facts nothing is needed by law yet.
func (s *server) needs(ctx context.Context, id string) ([]report.Need, error) {
	in, err := s.Incidents.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	a, err := s.Duties.Assess(ctx, id)
	if err != nil && fault.Of(err) != fault.Missing {
		return nil, err
	}
	docs, err := s.Reports.List(ctx, id)
	return report.Needs(a, in.State, docs), err
}

func neededOf(n report.Need, lang string) Needed {
	out := Needed{Kind: n.Kind.ID, Name: report.Word("report.kind."+n.Kind.ID, nil).In(lang), TLP: n.Kind.TLP, Groups: n.Kind.Groups, Formats: n.Kind.Formats, Needed: n.Needed, Made: []Document{}}
	if n.Clock != nil {
		out.Clock = n.Clock.ID
	}
	for _, d := range n.Made {
		out.Made = append(out.Made, documentOf(d))
	}
	return out
}
