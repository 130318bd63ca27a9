package api

import (
	"context"
	"net/http"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/protect/copy"
)

// Copies is what the operations need from protect/copy.
type Copies interface {
	States(ctx context.Context) ([]copy.State, error)
	History(ctx context.Context, place, agent string) ([]copy.Result, error)
	Places(ctx context.Context, all bool) ([]copy.Place, error)
	Place(ctx context.Context, id string) (copy.Place, error)
	Save(ctx context.Context, p copy.Place, login blob.Login, by auth.Person) (copy.Place, error)
	End(ctx context.Context, id string, by auth.Person) error
	Run(ctx context.Context, place, medium string, by auth.Person) error
	Stop(ctx context.Context, place string, by auth.Person) error
	Running(ctx context.Context) (map[string]copy.Now, error)
	Media(ctx context.Context) ([]copy.Medium, error)
	Medium(ctx context.Context, id string) (copy.Medium, error)
	AddMedium(ctx context.Context, place, label string, by auth.Person) (copy.Medium, error)
	Move(ctx context.Context, id string, s copy.Step, by auth.Person) error
}

// CopyPlaceIn is a place where copies go.
type CopyPlaceIn struct {
	Name     string `json:"name" minLength:"1" maxLength:"200"`
	Site     string `json:"site,omitempty" maxLength:"32" doc:"whose machines; those of all sites when absent; it stays what it was"`
	Where    string `json:"where,omitempty" maxLength:"32" doc:"id of the site where it lies; elsewhere: at none of them; absent: nobody says, and it does not count as away"`
	Kind     string `json:"kind" enum:"lock,folder,pull,media" doc:"it stays what it was"`
	Endpoint string `json:"endpoint,omitempty" maxLength:"300" doc:"lock: host or host:port"`
	Bucket   string `json:"bucket,omitempty" maxLength:"63"`
	Prefix   string `json:"prefix,omitempty" maxLength:"300"`
	Region   string `json:"region,omitempty" maxLength:"60"`
	CA       string `json:"ca,omitempty" maxLength:"300" doc:"PEM file on the hub"`
	Plain    bool   `json:"plain,omitempty" doc:"plain HTTP"`
	Dir      string `json:"dir,omitempty" maxLength:"500" doc:"folder, pull, media: absolute folder on the hub"`
	From     string `json:"from,omitempty" maxLength:"500" doc:"pull: mounted folder of the other hub's repositories"`
	Every    int    `json:"every" minimum:"0" maximum:"744" doc:"hours between two cycles; 0 for media: when somebody asks"`
	Rate     int    `json:"rate,omitempty" minimum:"0" maximum:"10000000" doc:"KiB/s; 0: no bound"`
	Keep     int    `json:"keep,omitempty" minimum:"0" maximum:"3660" doc:"lock: days that the oldest generation must last"`
	Reread   int    `json:"reread" minimum:"1" maximum:"3660" doc:"days after which every byte is read back again"`
	LoginID  string `json:"login_id,omitempty" maxLength:"300" doc:"lock: of the bucket's user; absent: as it was; never shown"`
	LoginKey string `json:"login_key,omitempty" maxLength:"300"`
}

func (in CopyPlaceIn) place(id string) (copy.Place, blob.Login) {
	return copy.Place{ID: id, Name: in.Name, Site: in.Site, Where: in.Where, Kind: copy.Kind(in.Kind), Endpoint: in.Endpoint, Bucket: in.Bucket, Prefix: in.Prefix, Region: in.Region,
		CA: in.CA, Plain: in.Plain, Dir: in.Dir, From: in.From, Every: in.Every, Rate: in.Rate, Keep: in.Keep, Reread: in.Reread}, blob.Login{ID: in.LoginID, Secret: in.LoginKey}
}

// CopyLine is what is known of one copy.
type CopyLine struct {
	copy.State
	Verified    bool `json:"verified" doc:"every byte was read back, and nothing was wrong since"`
	Unreachable bool `json:"unreachable" doc:"by malware that has all rights in the network"`
}

// CopyPlaceLine is a place and what is being done there.
type CopyPlaceLine struct {
	copy.Place
	Now *copy.Now `json:"now,omitempty"`
}

// CopyRun asks for a cycle.
type CopyRun struct {
	Medium string `json:"medium,omitempty" maxLength:"100" doc:"id; needed for a place for media"`
}

// CopyMediumIn registers a medium.
type CopyMediumIn struct {
	Place string `json:"place" minLength:"1" maxLength:"100"`
	Label string `json:"label" minLength:"1" maxLength:"200" doc:"what stands on it"`
}

// CopyStepIn says where a medium went.
type CopyStepIn struct {
	What string    `json:"what" enum:"ejected,handed,ready"`
	At   time.Time `json:"at,omitempty" doc:"now when absent"`
	From string    `json:"from,omitempty" maxLength:"200"`
	To   string    `json:"to,omitempty" maxLength:"200" doc:"who takes it; needed when it is handed over"`
	Seal string    `json:"seal,omitempty" maxLength:"200" doc:"number of the seal; needed when it is handed over, and read when it comes back"`
	Note string    `json:"note,omitempty" maxLength:"500"`
}

type copyList struct {
	Site string `query:"site" maxLength:"32"`
}

type copyHistory struct {
	ByID
	Agent string `query:"agent" required:"true" maxLength:"100"`
}

// copySite asks for a verb at the site that a list is about.
func copySite(v auth.Verb) rule[copyList] {
	return one(v, "protect", func(_ context.Context, who auth.Person, in *copyList) (auth.Resource, error) {
		return auth.Resource{Site: siteOr(in.Site, who)}, nil
	})
}

// copyRule is the right to a place that exists.
func copyRule[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, "protect", func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		p, err := s.Copies.Place(ctx, (*in).of())
		return auth.Resource{ID: p.ID, Site: p.Site}, err
	})
}

func (s *server) copyOperations() {
	register(s, operation{"list-copies", http.MethodGet, "/protect/copies", "Copies of repositories, and what is known of each", 0}, copySite(auth.ProtectSee),
		func(ctx context.Context, who auth.Person, in *copyList) (*body[page[CopyLine]], error) {
			all, err := s.Copies.States(ctx)
			var out []CopyLine
			for _, c := range all {
				if site := siteOr(in.Site, who); site == "" || c.Place.Site == site {
					out = append(out, CopyLine{c, c.Verified(), c.Unreachable(s.Now())})
				}
			}
			return paged(out, len(out)), err
		})
	register(s, operation{"list-copy-places", http.MethodGet, "/protect/copy-places", "Places where copies go, without their secrets", 0}, copySite(auth.ProtectSee), s.listCopyPlaces)
	register(s, operation{"add-copy-place", http.MethodPost, "/protect/copy-places", "Add a place where copies go", http.StatusCreated},
		one(auth.ProtectChange, "protect", func(_ context.Context, _ auth.Person, in *body[CopyPlaceIn]) (auth.Resource, error) {
			return auth.Resource{Site: in.Body.Site}, nil
		}),
		func(ctx context.Context, who auth.Person, in *body[CopyPlaceIn]) (*body[copy.Place], error) {
			place, login := in.Body.place("")
			p, err := s.Copies.Save(ctx, place, login, who)
			return &body[copy.Place]{p}, err
		})
	register(s, operation{"save-copy-place", http.MethodPut, "/protect/copy-places/{id}", "Change a place where copies go", 0}, copyRule[withBody[CopyPlaceIn]](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *withBody[CopyPlaceIn]) (*body[copy.Place], error) {
			place, login := in.Body.place(in.ID)
			p, err := s.Copies.Save(ctx, place, login, who)
			return &body[copy.Place]{p}, err
		})
	register(s, operation{"end-copy-place", http.MethodDelete, "/protect/copy-places/{id}", "Stop copying to a place; what lies there stays", 0}, copyRule[ByID](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.Copies.End(ctx, in.ID, who)
		})
	register(s, operation{"run-copy", http.MethodPost, "/protect/copy-places/{id}/run", "Copy to a place now", 0}, copyRule[withBody[CopyRun]](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *withBody[CopyRun]) (*none, error) {
			return nil, s.Copies.Run(ctx, in.ID, in.Body.Medium, who)
		})
	register(s, operation{"stop-copy", http.MethodPost, "/protect/copy-places/{id}/stop", "Stop what runs at a place; the next cycle goes on", 0}, copyRule[ByID](s, auth.ProtectChange),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.Copies.Stop(ctx, in.ID, who)
		})
	register(s, operation{"list-copy-results", http.MethodGet, "/protect/copy-places/{id}/results", "All results of one copy, newest first", 0}, copyRule[copyHistory](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *copyHistory) (*body[page[copy.Result]], error) {
			all, err := s.Copies.History(ctx, in.ID, in.Agent)
			return paged(all, len(all)), err
		})
	s.mediumOperations()
}

func (s *server) listCopyPlaces(ctx context.Context, who auth.Person, in *copyList) (*body[page[CopyPlaceLine]], error) {
	all, err := s.Copies.Places(ctx, false)
	if err != nil {
		return nil, err
	}
	now, err := s.Copies.Running(ctx)
	if err != nil {
		return nil, err
	}
	var out []CopyPlaceLine
	for _, p := range all {
		if site := siteOr(in.Site, who); site != "" && p.Site != site {
			continue
		}
		l := CopyPlaceLine{Place: p}
		if n, ok := now[p.ID]; ok {
			l.Now = &n
		}
		out = append(out, l)
	}
	return paged(out, len(out)), nil
}

func (s *server) mediumOperations() {
	register(s, operation{"list-copy-media", http.MethodGet, "/protect/media", "Media with copies, and every hand that they went through", 0}, copySite(auth.ProtectSee),
		func(ctx context.Context, who auth.Person, in *copyList) (*body[page[copy.Medium]], error) {
			all, err := s.Copies.Media(ctx)
			if err != nil {
				return nil, err
			}
			var out []copy.Medium
			for _, m := range all {
				p, err := s.Copies.Place(ctx, m.PlaceID)
				if err != nil {
					return nil, err
				}
				if site := siteOr(in.Site, who); site == "" || p.Site == site {
					out = append(out, m)
				}
			}
			return paged(out, len(out)), nil
		})
	register(s, operation{"add-copy-medium", http.MethodPost, "/protect/media", "Register a medium", http.StatusCreated},
		one(auth.ProtectChange, "protect", func(ctx context.Context, _ auth.Person, in *body[CopyMediumIn]) (auth.Resource, error) {
			p, err := s.Copies.Place(ctx, in.Body.Place)
			return auth.Resource{ID: p.ID, Site: p.Site}, err
		}),
		func(ctx context.Context, who auth.Person, in *body[CopyMediumIn]) (*body[copy.Medium], error) {
			m, err := s.Copies.AddMedium(ctx, in.Body.Place, in.Body.Label, who)
			return &body[copy.Medium]{m}, err
		})
	register(s, operation{"move-copy-medium", http.MethodPost, "/protect/media/{id}/custody", "Write down where a medium went", 0},
		one(auth.ProtectChange, "protect", func(ctx context.Context, _ auth.Person, in *withBody[CopyStepIn]) (auth.Resource, error) {
			m, err := s.Copies.Medium(ctx, in.ID)
			if err != nil {
				return auth.Resource{}, err
			}
			p, err := s.Copies.Place(ctx, m.PlaceID)
			return auth.Resource{ID: p.ID, Site: p.Site}, err
		}),
		func(ctx context.Context, who auth.Person, in *withBody[CopyStepIn]) (*none, error) {
			b := in.Body
			return nil, s.Copies.Move(ctx, in.ID, copy.Step{What: copy.MediumState(b.What), At: b.At, From: b.From, To: b.To, Seal: b.Seal, Note: b.Note}, who)
		})
}
