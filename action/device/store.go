package device

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Sealer seals small secrets, see package secret.
type Sealer interface {
	Seal(plain, context []byte) ([]byte, error)
	Unseal(sealed, context []byte) ([]byte, error)
}

// Store keeps devices and holds. It is safe for concurrent use.
type Store struct {
	db   *state.DB
	keys Sealer
	now  clock.Now
}

// NewStore returns the Store.
func NewStore(db *state.DB, keys Sealer, now clock.Now) *Store {
	return &Store{db: db, keys: keys, now: now}
}

var errDevice = fault.New(fault.Missing, "device.unknown")

// List lists the devices of a site, of all sites where it is empty.
func (s *Store) List(ctx context.Context, site string) ([]Device, error) {
	rows, err := s.db.Query(ctx, present+`AND ($1 = '' OR c.site = $1) ORDER BY c.site, c.name, c.id`, site)
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	defer rows.Close()
	var out []Device
	for rows.Next() {
		d, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("list devices: %w", err)
		}
		out = append(out, d)
	}
	return out, rows.Err()
}

// Get returns one device that was not removed.
func (s *Store) Get(ctx context.Context, id string) (Device, error) {
	d, err := scan(s.db.QueryRow(ctx, present+`AND c.id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return d, errDevice
	}
	if err != nil {
		return d, fmt.Errorf("device %s: %w", id, err)
	}
	return d, nil
}

func scan(row interface{ Scan(...any) error }) (d Device, err error) {
	var body string
	var fetched int64
	if err := row.Scan(&body, &fetched); err != nil {
		return d, err
	}
	err = json.Unmarshal([]byte(body), &d)
	d.FetchedAt = state.Time(fetched)
	return d, err
}

// secrets opens the secrets of a device.
func (s *Store) secrets(ctx context.Context, id string) (Secrets, error) {
	var text string
	err := s.db.QueryRow(ctx, `SELECT sealed FROM device WHERE id = $1`, id).Scan(&text)
	if err != nil {
		return nil, fmt.Errorf("secrets of device %s: %w", id, err)
	}
	sealed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("secrets of device %s: %w", id, err)
	}
	plain, err := s.keys.Unseal(sealed, []byte("device/"+id))
	if err != nil {
		return nil, fmt.Errorf("secrets of device %s: %w", id, err)
	}
	out := Secrets{}
	if err := json.Unmarshal(plain, &out); err != nil {
		return nil, fmt.Errorf("secrets of device %s: %w", id, err)
	}
	return out, nil
}

// Save adds a device (empty ID) or changes one. A secret that is empty stays
// as it was. The means and the site of a device stay what they were.
func (s *Store) Save(ctx context.Context, d Device, given Secrets, by auth.Person) (Device, error) {
	secrets := Secrets{}
	if d.ID == "" {
		d.ID = clock.ID("dev", s.now())
	} else {
		old, err := s.Get(ctx, d.ID)
		if err != nil {
			return d, err
		}
		d.Means, d.Site = old.Means, old.Site
		if secrets, err = s.secrets(ctx, d.ID); err != nil {
			return d, err
		}
	}
	if err := d.check(); err != nil {
		return d, err
	}
	for _, name := range SecretNames(d.Means) {
		if v := given[name]; len(v) > 500 {
			return d, fault.New(fault.Invalid, "device.field", name)
		} else if v != "" {
			secrets[name] = v
		}
	}
	if name := d.missing(secrets); name != "" {
		return d, fault.New(fault.Invalid, "device.secret-missing", name)
	}
	d.SetBy = by.ID
	if err := s.put(ctx, d, secrets); err != nil {
		return d, err
	}
	return s.Get(ctx, d.ID)
}

// missing names a secret without which the device cannot be spoken to.
func (d Device) missing(s Secrets) string {
	var need []string
	switch {
	case d.SNMP == "2c":
		need = []string{"community"}
	case d.SNMP == "3":
		need = []string{"auth", "priv"}
	case d.Means == action.Hook: // some need none
	default:
		need = []string{"secret"}
	}
	i := slices.IndexFunc(need, func(n string) bool { return s[n] == "" })
	if i < 0 {
		return ""
	}
	return need[i]
}

func (s *Store) put(ctx context.Context, d Device, secrets Secrets) error {
	plain, err := json.Marshal(secrets)
	if err != nil {
		return fmt.Errorf("save device %s: %w", d.ID, err)
	}
	sealed, err := s.keys.Seal(plain, []byte("device/"+d.ID))
	if err != nil {
		return fmt.Errorf("save device %s: %w", d.ID, err)
	}
	return s.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO device (id, fetched_at, sealed) VALUES ($1, 0, $2) ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed`,
			d.ID, base64.StdEncoding.EncodeToString(sealed))
		if err != nil {
			return fmt.Errorf("save device %s: %w", d.ID, err)
		}
		return s.write(ctx, tx, step{Device: d})
	})
}

// Remove forgets a device. One that must still be told to undo a block stays.
func (s *Store) Remove(ctx context.Context, id string, by auth.Person) error {
	d, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	open, err := s.holds(ctx, id)
	if err != nil {
		return err
	}
	if len(open) > 0 {
		return fault.New(fault.Conflict, "device.in-use", d.Name)
	}
	d.SetBy = by.ID
	return s.db.Tx(ctx, func(tx *state.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE device SET sealed = '' WHERE id = $1`, id); err != nil {
			return fmt.Errorf("remove device %s: %w", id, err)
		}
		return s.write(ctx, tx, step{Device: d, Removed: true})
	})
}

// holds returns the open holds of a device, the oldest first.
func (s *Store) holds(ctx context.Context, device string) ([]Hold, error) {
	rows, err := s.db.Query(ctx, `SELECT body FROM device_hold WHERE ended_at = 0 AND device = $1 ORDER BY action`, device)
	if err != nil {
		return nil, fmt.Errorf("holds of %s: %w", device, err)
	}
	defer rows.Close()
	var out []Hold
	for rows.Next() {
		var body string
		var h Hold
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("holds of %s: %w", device, err)
		}
		if err := json.Unmarshal([]byte(body), &h); err != nil {
			return nil, fmt.Errorf("holds of %s: %w", device, err)
		}
		out = append(out, h)
	}
	return out, rows.Err()
}

// hold returns the hold of an action, ended or not.
func (s *Store) hold(ctx context.Context, action string) (h Hold, ok bool, err error) {
	var body string
	err = s.db.QueryRow(ctx, `SELECT body FROM device_hold WHERE action = $1`, action).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return h, false, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &h)
	}
	if err != nil {
		return h, false, fmt.Errorf("hold of %s: %w", action, err)
	}
	return h, true, nil
}

// keep writes a hold; it is on the disk when keep returns. stuck, if any, is
// told to the others.
func (s *Store) keep(ctx context.Context, h Hold, stuck *Stuck) error {
	return s.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO device_hold (action, device, ended_at, body) VALUES ($1, $2, $3, $4)
			ON CONFLICT (action) DO UPDATE SET ended_at = excluded.ended_at, body = excluded.body`,
			h.Action, h.Device, state.Nanos(h.EndedAt), state.JSON(h))
		if err != nil {
			return fmt.Errorf("keep hold of %s: %w", h.Action, err)
		}
		if stuck == nil {
			return nil
		}
		return tx.Emit(ctx, "device.stuck", "stuck:"+h.Action, stuck)
	})
}

// busy are the devices that have an order waiting or a hold open.
func (s *Store) busy(ctx context.Context) ([]string, error) {
	rows, err := s.db.Query(ctx, `SELECT DISTINCT device FROM device_hold WHERE ended_at = 0
		UNION SELECT DISTINCT host FROM action_order WHERE waiting = 1 AND host LIKE $1`, action.DevicePrefix+"%")
	if err != nil {
		return nil, fmt.Errorf("devices with work: %w", err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("devices with work: %w", err)
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

// Listed returns the addresses that a list device publishes now, sorted, and
// notes that they were fetched.
func (s *Store) Listed(ctx context.Context, id string) ([]string, error) {
	open, err := s.holds(ctx, id)
	if err != nil {
		return nil, err
	}
	now := s.now()
	out := map[string]bool{}
	for _, h := range open {
		if h.Phase == Restoring || !h.EndsAt.After(now) {
			continue
		}
		for _, spot := range h.Spots {
			out[spot.Target] = true
		}
	}
	err = s.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE device SET fetched_at = $2 WHERE id = $1`, id, state.Nanos(now))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list of %s was fetched: %w", id, err)
	}
	return slices.Sorted(maps.Keys(out)), nil
}

// ListSecret returns the secret with which a list is fetched.
func (s *Store) ListSecret(ctx context.Context, id string) (string, error) {
	d, err := s.Get(ctx, id)
	if err != nil {
		return "", err
	}
	if d.Means != action.List {
		return "", errDevice
	}
	all, err := s.secrets(ctx, id)
	return all["secret"], err
}

// later is when to try again after so many failures.
func later(now time.Time, tries int) time.Time {
	return now.Add(min(time.Second<<min(tries, 6), time.Minute))
}
