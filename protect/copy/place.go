package copy

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Kind is what kind of place it is.
type Kind string

// Kinds of places.
const (
	Lock   Kind = "lock"   // an S3 bucket with object lock
	Folder Kind = "folder" // a folder, such as another site's that is mounted here
	Pull   Kind = "pull"   // this hub fetches the repositories of another hub, which is mounted here, into a folder of its own
	Media  Kind = "media"  // a medium that is taken out and put away
)

// Kinds lists all, in the order in which people are shown them.
func Kinds() []Kind { return []Kind{Lock, Folder, Pull, Media} }

// Elsewhere is where a place lies that is at none of our sites.
const Elsewhere = "elsewhere"

var siteForm = regexp.MustCompile(`^[a-z0-9-]{0,32}$`)

// Place is where copies go.
type Place struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Site string `json:"site"` // whose agents are copied; empty: those of all sites
	Kind Kind   `json:"kind"`
	// Where it lies: the id of a site, or Elsewhere; empty: nobody said.
	Where string `json:"where,omitempty"`

	Endpoint string `json:"endpoint,omitempty"` // lock: host or host:port
	Bucket   string `json:"bucket,omitempty"`
	Prefix   string `json:"prefix,omitempty"`
	Region   string `json:"region,omitempty"`
	CA       string `json:"ca,omitempty"`    // PEM file on the hub
	Plain    bool   `json:"plain,omitempty"` // plain HTTP
	Dir      string `json:"dir,omitempty"`   // folder, pull, media: absolute
	From     string `json:"from,omitempty"`  // pull: folder of the other hub's repositories

	Every  int `json:"every"`  // hours between two cycles; 0: only when somebody asks
	Rate   int `json:"rate"`   // KiB/s; 0: no bound
	Keep   int `json:"keep"`   // days that the oldest generation must last; with Every it says how long objects are locked
	Reread int `json:"reread"` // days after which everything is read back again

	Ended bool      `json:"ended,omitempty"`
	At    time.Time `json:"at"`
	SetBy string    `json:"set_by"` // person id
}

// Bounds of a place.
const (
	maxKeep  = 10 * 366
	maxEvery = 31 * 24
	maxText  = 500
	maxRate  = 10_000_000 // KiB/s
)

// wrong says which field cannot be used: each has a sentence of its own.
func wrong(field string) error { return fault.New(fault.Invalid, "protect.copy.field."+field) }

func (p *Place) check() error {
	p.Name = strings.TrimSpace(p.Name)
	switch {
	case p.Name == "" || len(p.Name) > maxText || strings.ContainsAny(p.Name, "\r\n\x00"):
		return wrong("name")
	case !siteForm.MatchString(p.Where):
		return wrong("where")
	case p.Every < 0 || p.Every > maxEvery || p.Every == 0 && p.Kind != Media:
		return wrong("every")
	case p.Rate < 0 || p.Rate > maxRate:
		return wrong("rate")
	case p.Reread < 1 || p.Reread > maxKeep:
		return wrong("reread")
	}
	switch p.Kind {
	case Lock:
		switch {
		case p.Endpoint == "" || strings.ContainsAny(p.Endpoint, "/ ") || len(p.Endpoint) > maxText:
			return wrong("endpoint")
		case p.Bucket == "" || len(p.Bucket) > 63:
			return wrong("bucket")
		case p.Prefix != "" && !blob.ValidName(p.Prefix):
			return wrong("prefix")
		case p.Keep < 1 || p.Keep > maxKeep:
			return wrong("keep")
		case p.CA != "" && !filepath.IsAbs(p.CA):
			return wrong("ca")
		}
	case Pull:
		if !clean(p.From) {
			return wrong("from")
		}
		fallthrough
	case Folder, Media:
		if !clean(p.Dir) {
			return wrong("dir")
		}
	default:
		return wrong("kind")
	}
	if p.Kind == Pull && (p.Dir == p.From || strings.HasPrefix(p.Dir, p.From+"/") || strings.HasPrefix(p.From, p.Dir+"/")) {
		return wrong("dir")
	}
	return nil
}

// clean says whether a folder is absolute and not the root.
func clean(dir string) bool {
	return filepath.IsAbs(dir) && filepath.Clean(dir) == dir && dir != "/" && len(dir) <= maxText
}

// lockFor is how long an object is locked from the cycle on that extends it:
// until the oldest generation is not needed any more, and one cycle longer.
func (p Place) lockFor() time.Duration {
	return time.Duration(p.Keep)*24*time.Hour + time.Duration(p.Every)*time.Hour
}

// Places lists all places that did not end, and those that did where all.
func (d *Desk) Places(ctx context.Context, all bool) ([]Place, error) {
	list, err := list[Place](ctx, d, kindPlace)
	if err != nil {
		return nil, err
	}
	var out []Place
	for _, p := range list {
		if all || !p.Ended {
			out = append(out, p)
		}
	}
	return out, nil
}

// Place returns one place.
func (d *Desk) Place(ctx context.Context, id string) (Place, error) {
	var p Place
	v, err := table.Get(ctx, d.db, id)
	if fault.Of(err) == fault.Missing || err == nil && v.Kind != kindPlace {
		return p, fault.New(fault.Missing, "protect.copy.unknown")
	}
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(v.Body, &p)
}

// Save adds a place (empty ID) or changes one; what kind it is and whose stays.
// Secrets that are empty stay what they were.
func (d *Desk) Save(ctx context.Context, p Place, login blob.Login, by auth.Person) (Place, error) {
	isNew := p.ID == ""
	if isNew {
		p.ID = clock.ID("pl", d.Now())
	} else {
		old, err := d.Place(ctx, p.ID)
		if err != nil {
			return p, err
		}
		if old.Ended {
			return p, fault.New(fault.Conflict, "protect.copy.ended")
		}
		p.Kind, p.Site, p.Ended = old.Kind, old.Site, false
	}
	p.At, p.SetBy = d.moment(), by.ID
	if err := p.check(); err != nil {
		return p, err
	}
	if p.Kind == Lock {
		if err := d.seal(ctx, p.ID, login); err != nil {
			return p, err
		}
	}
	return p, put(ctx, d, kindPlace, p.ID, by.ID, p.Site, func(last *Place, _ bool) error { *last = p; return nil })
}

// End stops the cycles of a place. What lies there stays, and locks end by
// themselves; the log-in is forgotten.
func (d *Desk) End(ctx context.Context, id string, by auth.Person) error {
	p, err := d.Place(ctx, id)
	if err != nil {
		return err
	}
	err = put(ctx, d, kindPlace, id, by.ID, p.Site, func(last *Place, _ bool) error {
		last.Ended, last.At, last.SetBy = true, d.moment(), by.ID
		return nil
	})
	if err != nil {
		return err
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM copy_secret WHERE place = $1`, id)
		return err
	})
}

// seal stores the log-in of a place. An empty one keeps what is there.
func (d *Desk) seal(ctx context.Context, place string, l blob.Login) error {
	if l.ID == "" && l.Secret == "" {
		_, err := d.login(ctx, place)
		return err
	}
	if l.ID == "" || l.Secret == "" || len(l.ID) > maxText || len(l.Secret) > maxText {
		return wrong("login")
	}
	plain, err := json.Marshal(l)
	if err != nil {
		return err
	}
	sealed, err := d.Keys.Seal(plain, []byte("copy/"+place))
	if err != nil {
		return fmt.Errorf("seal log-in of %s: %w", place, err)
	}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO copy_secret (place, sealed) VALUES ($1, $2) ON CONFLICT (place) DO UPDATE SET sealed = excluded.sealed`,
			place, base64.StdEncoding.EncodeToString(sealed))
		return err
	})
}

func (d *Desk) login(ctx context.Context, place string) (blob.Login, error) {
	var l blob.Login
	var text string
	err := d.db.QueryRow(ctx, `SELECT sealed FROM copy_secret WHERE place = $1`, place).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return l, wrong("login")
	}
	if err != nil {
		return l, err
	}
	sealed, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		sealed, err = d.Keys.Unseal(sealed, []byte("copy/"+place))
	}
	if err == nil {
		err = json.Unmarshal(sealed, &l)
	}
	if err != nil {
		return l, fmt.Errorf("log-in of %s: %w", place, err)
	}
	return l, nil
}

// open opens the place for the copy of one agent.
func (d *Desk) open(ctx context.Context, p Place, agent string) (target, error) {
	if p.Kind != Lock {
		return openFolder(filepath.Join(p.Dir, agent))
	}
	login, err := d.login(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	b, err := blob.OpenLocked(ctx, blob.S3{Endpoint: p.Endpoint, Bucket: p.Bucket, Region: p.Region, CA: p.CA, Insecure: p.Plain}, login)
	if err != nil {
		return nil, err
	}
	return &locked{b: b, prefix: p.Prefix, agent: agent, until: d.moment().Add(p.lockFor()).Truncate(time.Second)}, nil
}
