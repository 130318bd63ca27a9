package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/archive/lang"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/search"
)

// Range are the parameters of a question to the archive. (Exported like
// Paging.)
type Range struct {
	Query string    `query:"q" maxLength:"8192" doc:"in the language of the search page"`
	From  time.Time `query:"from" doc:"not before; without it from the oldest event"`
	To    time.Time `query:"to" doc:"before; without it to the newest event"`
}

func (r Range) ask(who auth.Person) archive.Search {
	return archive.Search{Query: r.Query, From: r.From, To: r.To, Sites: search.Sites(who)}
}

// question is r as it is recorded.
func (r Range) question(what, format string) search.Question {
	return search.Question{What: what, Query: r.Query, Span: stamp(r.From) + "/" + stamp(r.To), Format: format}
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

type searchIn struct {
	Range
	Limit int    `query:"limit" minimum:"1" maximum:"10000" default:"100"`
	After string `query:"after" maxLength:"500" doc:"next of the page before"`
}

// SearchPart is one line of a streamed answer.
type SearchPart struct {
	Events   []event.Event  `json:"events,omitempty" doc:"newest first; those of later lines are older"`
	Table    *SearchTable   `json:"table,omitempty" doc:"replaces the one of an earlier line"`
	Progress SearchProgress `json:"progress"`
	Next     string         `json:"next,omitempty" doc:"cursor of what is older, on the last line"`
	Done     bool           `json:"done" doc:"the last line; without it the answer is not whole"`
}

// SearchTable is the answer to a query with stages.
type SearchTable struct {
	Columns []SearchColumn `json:"columns"`
	Rows    [][]string     `json:"rows"`
	More    bool           `json:"more,omitempty" doc:"there are more rows than an answer has"`
}

// SearchColumn is a column of a table.
type SearchColumn struct {
	Name string `json:"name"`
	Kind string `json:"kind" enum:"text,number,time"`
}

// SearchProgress is how far a search has come.
type SearchProgress struct {
	Segments     int       `json:"segments"`
	SegmentsDone int       `json:"segments_done"`
	Rows         int64     `json:"rows"`
	RowsDone     int64     `json:"rows_done"`
	Back         time.Time `json:"back" doc:"everything after it has been looked at"`
	Found        int64     `json:"found"`
}

func partOf(p archive.Part) SearchPart {
	out := SearchPart{Events: p.Events, Progress: SearchProgress(p.Progress), Next: p.Next, Done: p.Done}
	if p.Table != nil {
		out.Table = &SearchTable{Columns: []SearchColumn{}, Rows: p.Table.Rows, More: p.Table.More}
		for _, c := range p.Table.Columns {
			out.Table.Columns = append(out.Table.Columns, SearchColumn(c))
		}
	}
	return out
}

// Bucket is one bar of a histogram.
type Bucket struct {
	From    time.Time `json:"from"`
	Seconds float64   `json:"seconds"`
	Count   int64     `json:"count"`
}

// FieldStats is what a field holds among the events that match.
type FieldStats struct {
	Field    string       `json:"field"`
	Present  int64        `json:"present"`
	Distinct int64        `json:"distinct"`
	Top      []ValueCount `json:"top"`
	Min      string       `json:"min,omitempty"`
	Max      string       `json:"max,omitempty"`
	Average  string       `json:"average,omitempty"`
}

// ValueCount is a value and how often it occurs.
type ValueCount struct {
	Value string `json:"value"`
	Count int64  `json:"count"`
}

// Values are suggestions.
type Values struct {
	Values []string `json:"values"`
}

// Entity is what is known of a host, user, address, program or file.
type Entity struct {
	Kind    search.Kind `json:"kind"`
	Value   string      `json:"value"`
	Query   string      `json:"query" doc:"finds its events"`
	Count   int64       `json:"count"`
	First   time.Time   `json:"first"`
	Last    time.Time   `json:"last"`
	Days    []Bucket    `json:"days"`
	Related []Relation  `json:"related"`
}

// Relation is the values of one field that stand beside an entity.
type Relation struct {
	Field    string       `json:"field"`
	Kind     search.Kind  `json:"kind,omitempty" doc:"of the values, where they are entities too"`
	Distinct int64        `json:"distinct"`
	Top      []ValueCount `json:"top"`
}

func entityOf(e search.Entity) Entity {
	out := Entity{Kind: e.Kind, Value: e.Value, Query: e.Query, Count: e.Count, First: e.First, Last: e.Last, Days: bucketsOf(e.Days), Related: []Relation{}}
	for _, r := range e.Related {
		out.Related = append(out.Related, Relation{r.Field, r.Kind, r.Distinct, valuesOf(r.Top)})
	}
	return out
}

func bucketsOf(list []archive.Bucket) []Bucket {
	out := make([]Bucket, 0, len(list))
	for _, b := range list {
		out = append(out, Bucket{b.From, b.Width.Seconds(), b.Count})
	}
	return out
}

func valuesOf(list []archive.Value) []ValueCount {
	out := make([]ValueCount, 0, len(list))
	for _, v := range list {
		out = append(out, ValueCount{v.Text, v.Count})
	}
	return out
}

// ExportFields say what is taken away, and as what.
type ExportFields struct {
	Query  string    `json:"query" maxLength:"8192"`
	From   time.Time `json:"from,omitempty"`
	To     time.Time `json:"to,omitempty"`
	Format string    `json:"format" enum:"csv,csv-bom,jsonl,parquet"`
}

// SavedFields are a search to be kept.
type SavedFields struct {
	Name   string `json:"name" minLength:"1" maxLength:"100"`
	Query  string `json:"query" maxLength:"8192"`
	Span   string `json:"span,omitempty" maxLength:"60" doc:"15m, 1h, 24h, 7d, 30d or from/to in RFC 3339"`
	Shared bool   `json:"shared,omitempty"`
}

// SavedChange changes a kept search.
type SavedChange struct {
	Name   string `json:"name" minLength:"1" maxLength:"100"`
	Shared bool   `json:"shared"`
}

// ofEvents is the right to events of the caller's own sites; what is answered
// is filtered by them.
func ofEvents[I any](v auth.Verb) rule[I] {
	return one(v, "event", func(_ context.Context, who auth.Person, _ *I) (auth.Resource, error) {
		return auth.Resource{Site: who.Site}, nil
	})
}

func (s *server) searchOperations() {
	register(s, operation{"search-events", http.MethodGet, "/search", "Search the archive: JSON lines, each as soon as it is known", 0}, ofEvents[searchIn](auth.View),
		func(ctx context.Context, who auth.Person, in *searchIn) (*huma.StreamResponse, error) {
			if err := s.Searches.Asked(ctx, in.question(search.Searched, ""), who); err != nil {
				return nil, err
			}
			q := in.ask(who)
			q.Limit, q.After = in.Limit, in.After
			return s.stream(http.Header{"Content-Type": {"application/x-ndjson"}}, func(ctx context.Context, w io.Writer) error {
				return s.Archive.Search(ctx, q, func(p archive.Part) error { return line(w, partOf(p)) })
			}), nil
		})
	s.searchNumbers()
	register(s, operation{"export-events", http.MethodPost, "/search/export", "Take all matching events away as a file", 0}, ofEvents[body[ExportFields]](auth.Preserve),
		func(ctx context.Context, who auth.Person, in *body[ExportFields]) (*huma.StreamResponse, error) {
			r := Range{in.Body.Query, in.Body.From, in.Body.To}
			if _, err := lang.Parse(r.Query); err != nil { // before the first byte
				return nil, err
			}
			if err := s.Searches.Asked(ctx, r.question(search.Exported, in.Body.Format), who); err != nil {
				return nil, err
			}
			return s.stream(http.Header{"Content-Type": {"application/octet-stream"}}, func(ctx context.Context, w io.Writer) error {
				_, err := s.Archive.Export(ctx, r.ask(who), in.Body.Format, w)
				return err
			}), nil
		})
	s.savedOperations()
}

// line writes one part and sends it at once.
func line(w io.Writer, p SearchPart) error {
	if err := json.NewEncoder(w).Encode(p); err != nil {
		return err
	}
	if l, ok := w.(*lazyWriter); ok {
		_ = http.NewResponseController(l.w).Flush() // a writer that cannot sends it in the end
	}
	return nil
}

// eventIn names one event.
type eventIn struct {
	ByID
	At time.Time `query:"at" doc:"its time; finds it quickly"`
}

type histogramIn struct {
	Range
	Buckets int `query:"buckets" minimum:"1" maximum:"500" default:"30"`
}

type fieldIn struct {
	Range
	Field string `path:"field" maxLength:"200"`
	Top   int    `query:"top" minimum:"1" maximum:"1000" default:"20"`
}

type suggestIn struct {
	Field  string `query:"field" required:"true" minLength:"1" maxLength:"200"`
	Prefix string `query:"prefix" maxLength:"200"`
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
}

type entityIn struct {
	Kind  string    `query:"kind" required:"true" enum:"host,user,address,process,hash"`
	Value string    `query:"value" required:"true" minLength:"1" maxLength:"500"`
	From  time.Time `query:"from" required:"true"`
	To    time.Time `query:"to" required:"true"`
}

// searchNumbers are the operations that answer at once.
func (s *server) searchNumbers() {
	register(s, operation{"get-event", http.MethodGet, "/search/events/{id}", "One event", 0}, ofEvents[eventIn](auth.View),
		func(ctx context.Context, who auth.Person, in *eventIn) (*body[event.Event], error) {
			return s.event(ctx, who, in)
		})
	register(s, operation{"search-histogram", http.MethodGet, "/search/histogram", "Count what matches over time", 0}, ofEvents[histogramIn](auth.View),
		func(ctx context.Context, who auth.Person, in *histogramIn) (*body[page[Bucket]], error) {
			if err := s.Searches.Asked(ctx, in.question(search.Searched, ""), who); err != nil {
				return nil, err
			}
			list, err := s.Archive.Histogram(ctx, in.ask(who), in.Buckets)
			return paged(bucketsOf(list), len(list)), err
		})
	register(s, operation{"search-field", http.MethodGet, "/search/fields/{field}", "What a field holds among what matches", 0}, ofEvents[fieldIn](auth.View),
		func(ctx context.Context, who auth.Person, in *fieldIn) (*body[FieldStats], error) {
			if err := s.Searches.Asked(ctx, in.question(search.Searched, ""), who); err != nil {
				return nil, err
			}
			f, err := s.Archive.Field(ctx, in.ask(who), in.Field, in.Top)
			return &body[FieldStats]{FieldStats{f.Field, f.Present, f.Distinct, valuesOf(f.Top), f.Min, f.Max, f.Average}}, err
		})
	register(s, operation{"suggest-values", http.MethodGet, "/search/suggest", "Values of a field that begin as typed", 0}, ofEvents[suggestIn](auth.View),
		func(ctx context.Context, who auth.Person, in *suggestIn) (*body[Values], error) {
			if err := s.Searches.Asked(ctx, search.Question{What: search.Hinted, Query: in.Field}, who); err != nil {
				return nil, err
			}
			list, err := s.Archive.Suggest(ctx, in.Field, in.Prefix, search.Sites(who), in.Limit)
			return &body[Values]{Values{append([]string{}, list...)}}, err
		})
	register(s, operation{"get-entity", http.MethodGet, "/search/entity", "What is known of a host, user, address, program or file", 0}, ofEvents[entityIn](auth.View),
		func(ctx context.Context, who auth.Person, in *entityIn) (*body[Entity], error) {
			k := search.Kind(in.Kind)
			if err := s.Searches.Asked(ctx, Range{k.Find(in.Value), in.From, in.To}.question(search.Entities, ""), who); err != nil {
				return nil, err
			}
			e, err := s.Searches.Entity(ctx, k, in.Value, in.From, in.To, who)
			return &body[Entity]{entityOf(e)}, err
		})
}

func (s *server) event(ctx context.Context, who auth.Person, in *eventIn) (*body[event.Event], error) {
	if err := s.Searches.Opened(ctx, in.ID, who); err != nil {
		return nil, err
	}
	q := archive.Search{Query: "id=" + search.Quote(in.ID), Sites: search.Sites(who), Limit: 1}
	if !in.At.IsZero() {
		q.From, q.To = in.At, in.At.Add(time.Nanosecond)
	}
	var found []event.Event
	err := s.Archive.Search(ctx, q, func(p archive.Part) error { found = append(found, p.Events...); return nil })
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fault.New(fault.Missing, "searchpage.no-event")
	}
	return &body[event.Event]{found[0]}, nil
}

// changedIn changes a kept search.
type changedIn struct {
	ByID
	Body SavedChange
}

func (s *server) savedOperations() {
	register(s, operation{"list-searches", http.MethodGet, "/searches", "Kept searches: one's own and shared ones", 0}, ofEvents[struct{}](auth.View),
		func(ctx context.Context, who auth.Person, _ *struct{}) (*body[page[search.Saved]], error) {
			list, err := s.Searches.Saved(ctx, who)
			return paged(list, len(list)), err
		})
	register(s, operation{"save-search", http.MethodPost, "/searches", "Keep a search", http.StatusCreated}, ofEvents[body[SavedFields]](auth.View),
		func(ctx context.Context, who auth.Person, in *body[SavedFields]) (*body[search.Saved], error) {
			saved, err := s.Searches.Save(ctx, search.NewSaved(in.Body), who)
			return &body[search.Saved]{saved}, err
		})
	register(s, operation{"change-search", http.MethodPut, "/searches/{id}", "Rename or share a kept search of one's own", 0}, ofEvents[changedIn](auth.View),
		func(ctx context.Context, who auth.Person, in *changedIn) (*none, error) {
			if err := s.Searches.Rename(ctx, in.ID, in.Body.Name, who); err != nil {
				return nil, err
			}
			return nil, s.Searches.Share(ctx, in.ID, in.Body.Shared, who)
		})
	register(s, operation{"delete-search", http.MethodDelete, "/searches/{id}", "Forget a kept search of one's own", 0}, ofEvents[ByID](auth.View),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.Searches.Delete(ctx, in.ID, who)
		})
}
