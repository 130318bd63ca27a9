package view

import (
	"slices"
	"strconv"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/report"
)

// DocumentsData are the documents of an incident: what is needed, what is made.
type DocumentsData struct {
	Incident    incident.Incident
	Needs       []report.Need
	Particulars report.Particulars
	Problems    []report.Problem // of the site's templates
}

func (d DocumentsData) resource(p Page) auth.Resource {
	return auth.Resource{Kind: "report", ID: d.Incident.ID, Site: auth.Among(p.Viewer, d.Incident.Scope.Sites)}
}

// now are the kinds that are needed, or all others.
func (d DocumentsData) now(needed bool) []report.Need {
	return slices.DeleteFunc(slices.Clone(d.Needs), func(n report.Need) bool { return n.Needed != needed })
}

func (d DocumentsData) path() string { return "/incidents/" + d.Incident.ID + "/documents" }

// group is what a group of persons is called; its id when it was dropped since.
func (d DocumentsData) group(id string) string {
	if g, ok := d.Particulars.Group(id); ok {
		return g.Name
	}
	return id
}

// newest are the documents of a kind that count: the newest for each group.
func newest(n report.Need) (counts, older []report.Document) {
	seen := map[string]bool{}
	for _, doc := range n.Made {
		if seen[doc.Part] {
			older = append(older, doc)
			continue
		}
		seen[doc.Part] = true
		counts = append(counts, doc)
	}
	return counts, older
}

func documentName(p Page, kind string) string { return p.T("report.kind." + kind) }

func documentPath(doc report.Document) string {
	return "/incidents/" + doc.Incident + "/documents/" + doc.ID
}

func filePath(doc report.Document, format, lang string) string {
	return documentPath(doc) + "/files/" + format + "?lang=" + lang
}

func proofPath(doc report.Document, format, lang string) string {
	return documentPath(doc) + "/proofs/" + format + "?lang=" + lang
}

// formatsOf are the formats of a document besides the page.
func formatsOf(doc report.Document) []string {
	k, _ := report.KindOf(doc.Kind)
	return append(slices.Clone(k.Formats), report.JSON)
}

// makeName is what the button says that makes a document.
func makeName(p Page, n report.Need, again bool) string {
	if again {
		return p.T("documents.make-next", "kind", documentName(p, n.Kind.ID))
	}
	return p.T("documents.make-kind", "kind", documentName(p, n.Kind.ID))
}

// ParticularsData is the form of particulars.
type ParticularsData struct {
	Incident    incident.Incident
	Particulars report.Particulars
}

// spare is how many empty groups the form offers, for those who have no
// scripts.
const spare = 2

func (d ParticularsData) groups() []report.Group {
	return append(slices.Clone(d.Particulars.Groups), make([]report.Group, spare)...)
}

// oneLine says whether a particular has one line.
func oneLine(id string) bool {
	return slices.Contains([]string{"desk_name", "desk_phone", "desk_hours", "signatory", "until"}, id)
}

func groupField(i int, name string) string { return "group-" + strconv.Itoa(i) + "-" + name }

func countOrNone(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
