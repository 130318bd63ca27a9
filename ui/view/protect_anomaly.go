package view

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/protect/anomaly"
)

// AnomalyListData are the series that the viewer sees.
type AnomalyListData struct {
	There  []string // pages about protection that there are
	Series []anomaly.Series
	// Classes are proposals for classes in which a person is waited for.
	Classes []anomaly.ClassProposal
	Class   func(id string) string // names
}

// AnomalySeriesData is one series with its timeline and its clean point.
type AnomalySeriesData struct {
	There     []string
	Series    anomaly.Series
	Class     string             // its name
	Snapshots []anomaly.Snapshot // the newest first
	Page      Paging
	Proposal  anomaly.Proposal
	Begun     string // as the viewer typed it
	Uncertain time.Duration
	Points    []anomaly.CleanPoint
	Incidents [][2]string // that are open: id, title
}

func (d AnomalySeriesData) path() string { return "/protect/snapshots/" + d.Series.ID }

// AnomalySnapshotData is one snapshot.
type AnomalySnapshotData struct {
	There    []string
	Series   anomaly.Series
	Snapshot anomaly.Snapshot
}

func (d AnomalySnapshotData) path() string {
	return "/protect/snapshots/" + d.Series.ID + "/" + d.Snapshot.ID
}

// AnomalyLossData is what going back to a snapshot would cost.
type AnomalyLossData struct {
	There    []string
	Series   anomaly.Series
	Snapshot anomaly.Snapshot
	Loss     anomaly.Loss
	Page     Paging
}

func (d AnomalyLossData) some() []anomaly.LostFile {
	from := min(d.Page.Offset, len(d.Loss.Files))
	return d.Loss.Files[from:min(from+d.Page.Limit, len(d.Loss.Files))]
}

func mayProtect(p Page, v auth.Verb, s anomaly.Series) bool {
	return p.May(v, auth.Resource{Kind: "protect", ID: s.ID, Site: s.Site})
}

// shortID is a snapshot's id as restic writes it.
func shortID(id string) string { return id[:min(8, len(id))] }

// verdictMark is shape, word and colour of a verdict: never colour alone.
func verdictMark(v anomaly.Verdict) string {
	switch v {
	case anomaly.Flagged:
		return "◆"
	case anomaly.Question:
		return "？"
	case anomaly.Watch:
		return "■"
	case anomaly.Unread:
		return "×"
	}
	return "○"
}

func verdictClass(v anomaly.Verdict) string {
	switch v {
	case anomaly.Flagged:
		return "sev-critical"
	case anomaly.Question, anomaly.Unread:
		return "sev-high"
	case anomaly.Watch:
		return "sev-medium"
	}
	return "sev-info"
}

// Measures of the timeline, in units of its view box.
const (
	anomalySlot = 28
	anomalyTall = 120
	anomalyHead = 24
	anomalyLeft = 44
	anomalyMost = 26 // snapshots
)

// anomalyBar is one snapshot in the drawing.
type anomalyBar struct {
	anomaly.Snapshot
	X     int
	Y, H  string
	Begun bool // it tips here
	Clean bool // the clean point
}

// anomalyBars draws the newest snapshots, oldest on the left.
func anomalyBars(d AnomalySeriesData) []anomalyBar {
	some := d.Snapshots[:min(len(d.Snapshots), anomalyMost)]
	out := make([]anomalyBar, 0, len(some))
	tipped := false
	for i, s := range slices.Backward(some) {
		h := max(2, float64(s.Points)/100*anomalyTall)
		b := anomalyBar{Snapshot: s, X: anomalyLeft + (len(some)-1-i)*anomalySlot, Y: decimal(anomalyHead + anomalyTall - h), H: decimal(h), Clean: s.ID == d.chosen()}
		if begun := d.Proposal.Begun; !tipped && !begun.IsZero() && !s.Received.Before(begun) {
			b.Begun, tipped = true, true
		}
		out = append(out, b)
	}
	return out
}

// chosen is the confirmed clean point, else the proposed one.
func (d AnomalySeriesData) chosen() string {
	if n := len(d.Points); n > 0 {
		return d.Points[n-1].Snapshot
	}
	if d.Proposal.Begun.IsZero() {
		return ""
	}
	return d.Proposal.Choice
}

func anomalyBox(n int) string {
	return "0 0 " + strconv.Itoa(anomalyLeft+max(n, 20)*anomalySlot+40) + " " + strconv.Itoa(anomalyHead+anomalyTall+28)
}

// anomalyLimit is the height from which on a snapshot is flagged.
func anomalyLimit() string { return decimal(anomalyHead + anomalyTall*(1-0.7)) }

// reasonText says a reason in words.
func reasonText(p Page, r anomaly.Reason) string {
	since := ""
	if t, err := time.Parse(time.RFC3339, r.Since); err == nil {
		since = p.Time(t)
	}
	file, form := "", ""
	if len(r.Examples) > 0 {
		file = r.Examples[0]
	}
	if r.Form != "" {
		form = p.T("protect.anomaly.form." + r.Form)
	}
	text := p.T("protect.anomaly.rule."+r.Rule, "file", file, "form", form, "n", p.Count(r.N), "of", p.Count(r.Of), "limit", p.Count(r.Limit), "before", percent(r.Before), "after", percent(r.After),
		"ending", r.Ending, "since", since)
	switch {
	case r.Limit == 0 || r.Rule == anomaly.RuleCanary:
	case r.Z > 0:
		text += p.T("protect.anomaly.usual", "limit", p.Count(r.Limit), "z", decimal(r.Z))
	default:
		text += p.T("protect.anomaly.limit", "limit", p.Count(r.Limit))
	}
	if since != "" && slices.Contains([]string{anomaly.RuleDamage, anomaly.RuleHead, anomaly.RuleScrambled}, r.Rule) {
		text += p.T("protect.anomaly.since", "since", since)
	}
	return text
}

// rounded is an entropy or a ratio; what is not known is a dash.
func rounded(v float64) string {
	if v <= 0 {
		return "—"
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// foldersOf are the paths of a series in one line.
func foldersOf(s anomaly.Series) string { return strings.Join(s.Paths, ", ") }

// numberOfSnapshot is one line of the table of numbers.
type numberOfSnapshot struct{ Key, Value string }

func numbersOf(p Page, n anomaly.Numbers) []numberOfSnapshot {
	return []numberOfSnapshot{
		{"files", p.Count(n.Files)}, {"bytes", i18n.Bytes(int64(n.Bytes))}, {"changed", p.Count(n.Changed)}, {"replaced", p.Count(n.Replaced)}, {"new", p.Count(n.New)},
		{"removed", p.Count(n.Removed)}, {"archived", p.Count(n.Archived)}, {"moved", p.Count(n.Moved)}, {"compared", p.Count(n.Compared + n.Looked)},
		{"ratio", rounded(n.OldRatio) + " → " + rounded(n.Ratio)}, {"rewrote", i18n.Bytes(int64(n.Rewrote))},
	}
}

func uncertainties() []time.Duration {
	return []time.Duration{0, time.Hour, 6 * time.Hour, 24 * time.Hour, 72 * time.Hour, 168 * time.Hour}
}

func uncertainWord(p Page, u time.Duration) string {
	if u == 0 {
		return p.T("protect.anomaly.certain")
	}
	return p.Span(u)
}

// maxListed bounds the candidates that a page lists.
const maxListed = 20

// firstCandidates are the newest that can be the clean point, with up to three
// newer ones that cannot.
func firstCandidates(p anomaly.Proposal) []anomaly.Candidate {
	first := max(0, slices.IndexFunc(p.Candidates, func(c anomaly.Candidate) bool { return c.Dropped == "" })-3)
	return p.Candidates[first:min(len(p.Candidates), first+maxListed)]
}

func candidateWord(p Page, x anomaly.Proposal, c anomaly.Candidate) string {
	switch {
	case c.Dropped != "":
		return p.T("protect.anomaly.drop." + c.Dropped)
	case c.Snapshot == x.Choice:
		return p.T("protect.anomaly.choice")
	case c.Snapshot == x.Newest:
		return p.T("protect.anomaly.newest-unproven")
	}
	return p.T("protect.anomaly.possible")
}

// becameWord says what happened to a file since the clean point.
func becameWord(p Page, f anomaly.LostFile) string {
	var words []string
	switch {
	case f.Gone:
		words = append(words, p.T("protect.anomaly.became.gone"))
	case f.New:
		words = append(words, p.T("protect.anomaly.became.new"))
	default:
		words = append(words, p.T("protect.anomaly.became.changed"))
	}
	switch {
	case f.Sign != "":
		words = append(words, p.T("protect.anomaly.sign."+f.Sign))
	case !f.Looked && !f.Gone:
		words = append(words, p.T("protect.anomaly.unlooked"))
	}
	return strings.Join(words, p.T("list.and"))
}
