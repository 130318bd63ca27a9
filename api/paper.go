package api

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/paper"
)

// addPicture is the operation that takes a whole picture.
const addPicture = "add-picture"

// PictureIn is a picture as it comes.
type PictureIn struct {
	Name       string    `json:"name" maxLength:"200" doc:"of the file"`
	Data       []byte    `json:"data" doc:"JPEG, PNG, HEIC or PDF in base64, at most 20 MiB"`
	Text       string    `json:"text" minLength:"1" maxLength:"1000" doc:"what it shows"`
	Source     string    `json:"source,omitempty" enum:"whiteboard,paper,fax"`
	OccurredAt time.Time `json:"occurred_at,omitempty" doc:"when what it shows was written; now when absent"`
}

// MemoIn is a telephone memo.
type MemoIn struct {
	At           time.Time `json:"at,omitempty" doc:"when the call was; now when absent"`
	Caller       string    `json:"caller,omitempty" maxLength:"200"`
	Organisation string    `json:"organisation,omitempty" maxLength:"200"`
	Number       string    `json:"number,omitempty" maxLength:"100"`
	Asked        string    `json:"asked" minLength:"1" maxLength:"2000"`
	Answered     string    `json:"answered,omitempty" maxLength:"2000"`
	CallBy       time.Time `json:"call_by,omitempty" doc:"until when to call back; nobody has to when absent"`
	CallWho      string    `json:"call_who,omitempty" maxLength:"100" doc:"id of the person who calls back; the writer when absent"`
}

// CalledBack is what came of a promised call.
type CalledBack struct {
	Result string    `json:"result" minLength:"1" maxLength:"2000"`
	At     time.Time `json:"at,omitempty" doc:"now when absent"`
}

// PaperLogIn is a log as it comes.
type PaperLogIn struct {
	Name string `json:"name" maxLength:"200" doc:"of the file"`
	Data []byte `json:"data" doc:"CSV in base64, at most 512 KiB here"`
}

// PaperLogChoices says what becomes of lines in conflict.
type PaperLogChoices struct {
	Choices []PaperLogChoice `json:"choices,omitempty" maxItems:"2000" nullable:"false"`
}

// PaperLogChoice is about one line of a log.
type PaperLogChoice struct {
	Row    int    `json:"row" minimum:"1"`
	Choice string `json:"choice" enum:"leave,take,correct"`
}

// RecordByID names a record within its incident. (Exported like Paging.)
type RecordByID struct {
	ByID
	Record string `path:"record" maxLength:"100"`
}

type recordWith[T any] struct {
	RecordByID
	Body T
}

type templateIn struct {
	ByID
	Lang string `query:"lang" enum:"ja,en" default:"ja"`
}

// paperFile is a file as it was kept. It is never something that a browser runs.
type paperFile struct {
	ContentType string `header:"Content-Type"`
	Policy      string `header:"Content-Security-Policy"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

func paperFileOf(t paper.Type, data []byte) *paperFile {
	return &paperFile{string(t), "sandbox; default-src 'none'", "attachment", data}
}

func (s *server) paperOperations() {
	register(s, operation{addPicture, http.MethodPost, "/incidents/{id}/pictures", "Keep a picture of a whiteboard or a paper", http.StatusCreated}, incidentRule[withBody[PictureIn]](s, auth.Handle, "entry"),
		func(ctx context.Context, who auth.Person, in *withBody[PictureIn]) (*body[paper.Picture], error) {
			b := in.Body
			p, err := s.Paper.AddPicture(ctx, in.ID, paper.NewPicture{Name: b.Name, Data: b.Data, Text: b.Text, Source: b.Source, OccurredAt: b.OccurredAt}, who)
			return &body[paper.Picture]{p}, err
		})
	register(s, operation{"list-pictures", http.MethodGet, "/incidents/{id}/pictures", "Pictures of an incident", 0}, incidentRule[ByID](s, auth.View, "entry"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[paper.Picture]], error) {
			all, err := s.Paper.Pictures(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"get-picture", http.MethodGet, "/incidents/{id}/pictures/{record}", "One picture, as it came", 0}, incidentRule[RecordByID](s, auth.View, "entry"),
		func(ctx context.Context, _ auth.Person, in *RecordByID) (*paperFile, error) {
			p, data, err := s.Paper.Picture(ctx, in.ID, in.Record)
			return paperFileOf(p.File.Type, data), err
		})
	register(s, operation{"take-memo", http.MethodPost, "/incidents/{id}/memos", "Write a telephone call down, and until when to call back", http.StatusCreated}, incidentRule[withBody[MemoIn]](s, auth.Handle, "entry"),
		func(ctx context.Context, who auth.Person, in *withBody[MemoIn]) (*body[incident.Entry], error) {
			if err := s.exists(ctx, in.Body.CallWho); err != nil {
				return nil, err
			}
			e, err := s.Paper.TakeMemo(ctx, in.ID, paper.Memo(in.Body), who)
			return &body[incident.Entry]{e}, err
		})
	register(s, operation{"list-call-backs", http.MethodGet, "/incidents/{id}/call-backs", "Calls that were promised", 0}, incidentRule[ByID](s, auth.View, "entry"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[paper.CallBack]], error) {
			all, err := s.Paper.CallBacks(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"called-back", http.MethodPost, "/incidents/{id}/call-backs/{record}", "Say that a promised call was made", 0}, incidentRule[recordWith[CalledBack]](s, auth.Handle, "entry"),
		func(ctx context.Context, who auth.Person, in *recordWith[CalledBack]) (*none, error) {
			return nil, s.Paper.CalledBack(ctx, in.ID, in.Record, in.Body.Result, in.Body.At, who)
		})
	register(s, operation{"export-paper", http.MethodPost, "/incidents/{id}/paper-exports", "All that came on paper with its proofs, as one zip that sonae verify checks; the chronology says who took it", http.StatusOK}, incidentRule[ByID](s, auth.View, "entry"),
		func(_ context.Context, who auth.Person, in *ByID) (*huma.StreamResponse, error) {
			return s.stream(http.Header{"Content-Type": {"application/zip"}, "Content-Disposition": {`attachment; filename="sonae-` + in.ID + `-paper.zip"`}},
				func(ctx context.Context, w io.Writer) error { return s.Paper.Export(ctx, in.ID, who, w) }), nil
		})
	s.logOperations()
}

func (s *server) logOperations() {
	register(s, operation{"log-template", http.MethodGet, "/incidents/{id}/log-template", "An empty log for a spreadsheet program", 0}, incidentRule[templateIn](s, auth.View, "entry"),
		func(_ context.Context, _ auth.Person, in *templateIn) (*paperFile, error) {
			return paperFileOf("text/csv; charset=utf-8", paper.Template(in.Lang)), nil
		})
	register(s, operation{"add-log", http.MethodPost, "/incidents/{id}/logs", "Keep a log and see what it would add; nothing stands in the chronology by that", http.StatusCreated}, incidentRule[withBody[PaperLogIn]](s, auth.Handle, "entry"),
		func(ctx context.Context, who auth.Person, in *withBody[PaperLogIn]) (*body[paper.Preview], error) {
			p, err := s.Paper.AddSheet(ctx, in.ID, in.Body.Name, in.Body.Data, who)
			return &body[paper.Preview]{p}, err
		})
	register(s, operation{"list-logs", http.MethodGet, "/incidents/{id}/logs", "Logs that came", 0}, incidentRule[ByID](s, auth.View, "entry"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[paper.SheetFile]], error) {
			all, err := s.Paper.Sheets(ctx, in.ID)
			return paged(all, len(all)), err
		})
	register(s, operation{"get-log", http.MethodGet, "/incidents/{id}/logs/{record}", "A log beside the chronology as it is now", 0}, incidentRule[RecordByID](s, auth.View, "entry"),
		func(ctx context.Context, _ auth.Person, in *RecordByID) (*body[paper.Preview], error) {
			p, err := s.Paper.Preview(ctx, in.ID, in.Record)
			return &body[paper.Preview]{p}, err
		})
	register(s, operation{"get-log-file", http.MethodGet, "/incidents/{id}/logs/{record}/file", "A log as it came", 0}, incidentRule[RecordByID](s, auth.View, "entry"),
		func(ctx context.Context, _ auth.Person, in *RecordByID) (*paperFile, error) {
			f, data, err := s.Paper.SheetData(ctx, in.ID, in.Record)
			return paperFileOf(f.File.Type, data), err
		})
	register(s, operation{"import-log", http.MethodPost, "/incidents/{id}/logs/{record}/import", "Take a log into the chronology; again adds nothing", 0}, incidentRule[recordWith[PaperLogChoices]](s, auth.Handle, "entry"),
		func(ctx context.Context, who auth.Person, in *recordWith[PaperLogChoices]) (*body[paper.Taken], error) {
			choices := map[int]paper.Choice{}
			for _, c := range in.Body.Choices {
				choices[c.Row] = paper.Choice(c.Choice)
			}
			t, err := s.Paper.Import(ctx, in.ID, in.Record, choices, who)
			return &body[paper.Taken]{t}, err
		})
}

// exists refuses an id that is nobody's.
func (s *server) exists(ctx context.Context, person string) error {
	if person == "" {
		return nil
	}
	_, err := s.People.Person(ctx, person)
	if fault.Of(err) == fault.Missing {
		return fault.New(fault.Invalid, "api.invalid").With(err)
	}
	return err
}
