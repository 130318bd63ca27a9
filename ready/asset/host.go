package asset

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

const hostColumns = `id, name, site, class, os, agent, addresses, services, keep, enrolled_at, removed_at, last_seen, health, hub, action, lease_end, drill`

func scanHost(row scanner) (Host, error) {
	var h Host
	var addresses, services, health string
	var enrolled, removed, seen, lease int64
	err := row.Scan(&h.ID, &h.Name, &h.Site, &h.Class, &h.OS, &h.Agent, &addresses, &services, &h.Keep,
		&enrolled, &removed, &seen, &health, &h.Hub, &h.Action, &lease, &h.Drill)
	if err != nil {
		return Host{}, err
	}
	h.EnrolledAt, h.RemovedAt, h.LastSeen, h.LeaseEnd = state.Time(enrolled), state.Time(removed), state.Time(seen), state.Time(lease)
	err = errors.Join(json.Unmarshal([]byte(addresses), &h.Addresses), json.Unmarshal([]byte(services), &h.Services), json.Unmarshal([]byte(health), &h.Health))
	if err != nil {
		return Host{}, fmt.Errorf("host %s: %w", h.ID, err)
	}
	return h, nil
}

// Hosts lists the trusted hosts by site and name, and how many there are in all.
func (r *Registry) Hosts(ctx context.Context, f Filter) ([]Host, int, error) {
	const where = ` FROM asset_host WHERE removed_at = 0 AND ($1 = '' OR site = $1)`
	var total int
	if err := r.db.QueryRow(ctx, `SELECT COUNT(*)`+where, f.Site).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count hosts: %w", err)
	}
	rows, err := r.db.Query(ctx, `SELECT `+hostColumns+where+` ORDER BY site, name, id LIMIT $2 OFFSET $3`, f.Site, page(f.Limit), max(f.Offset, 0))
	if err != nil {
		return nil, 0, fmt.Errorf("list hosts: %w", err)
	}
	defer rows.Close()
	var out []Host
	for rows.Next() {
		h, err := scanHost(rows)
		if err != nil {
			return nil, 0, fmt.Errorf("list hosts: %w", err)
		}
		out = append(out, r.overlay(h))
	}
	return out, total, rows.Err()
}

// Host returns one host, also a removed one, or fault.Missing.
func (r *Registry) Host(ctx context.Context, id string) (Host, error) {
	h, err := scanHost(r.db.QueryRow(ctx, `SELECT `+hostColumns+` FROM asset_host WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return Host{}, errHost
	}
	if err != nil {
		return Host{}, fmt.Errorf("host %s: %w", id, err)
	}
	return r.overlay(h), nil
}

// HostsAt lists the trusted hosts that say that an address is theirs. An
// address in another form than heartbeats store it is nobody's.
func (r *Registry) HostsAt(ctx context.Context, address string) ([]Host, error) {
	if strings.ContainsAny(address, `%_"`) {
		return nil, nil
	}
	rows, err := r.db.Query(ctx, `SELECT `+hostColumns+` FROM asset_host WHERE removed_at = 0 AND addresses LIKE $1 ORDER BY id LIMIT $2`, `%"`+address+`"%`, maxNumber)
	if err != nil {
		return nil, fmt.Errorf("hosts at an address: %w", err)
	}
	defer rows.Close()
	var out []Host
	for rows.Next() {
		h, err := scanHost(rows)
		if err != nil {
			return nil, fmt.Errorf("hosts at an address: %w", err)
		}
		out = append(out, r.overlay(h))
	}
	return out, rows.Err()
}

// HostsNamed lists the trusted hosts of a site that are called so, in whatever
// case.
func (r *Registry) HostsNamed(ctx context.Context, site, name string) ([]Host, error) {
	rows, err := r.db.Query(ctx, `SELECT `+hostColumns+` FROM asset_host WHERE removed_at = 0 AND site = $1 AND LOWER(name) = LOWER($2) ORDER BY id LIMIT $3`, site, name, maxNumber)
	if err != nil {
		return nil, fmt.Errorf("hosts by name: %w", err)
	}
	defer rows.Close()
	var out []Host
	for rows.Next() {
		h, err := scanHost(rows)
		if err != nil {
			return nil, fmt.Errorf("hosts by name: %w", err)
		}
		out = append(out, r.overlay(h))
	}
	return out, rows.Err()
}

// Hubs lists the addresses, as ip:port, at which agents reach hubs.
func (r *Registry) Hubs(ctx context.Context) ([]string, error) {
	rows, err := r.db.Query(ctx, `SELECT DISTINCT hub FROM asset_host WHERE removed_at = 0 AND hub <> '' AND drill = 0 ORDER BY hub`)
	if err != nil {
		return nil, fmt.Errorf("addresses of hubs: %w", err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var hub string
		if err := rows.Scan(&hub); err != nil {
			return nil, fmt.Errorf("addresses of hubs: %w", err)
		}
		out = append(out, hub)
	}
	return out, rows.Err()
}

// hostRecord is what the leaf of a host covers: what people decided about it,
// not what heartbeats say.
type hostRecord struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Site      string    `json:"site"`
	Class     string    `json:"class"`
	Services  []Service `json:"services"`
	Keep      string    `json:"keep"`
	RemovedAt int64     `json:"removed_at"`
	Drill     bool      `json:"drill"`
	Token     string    `json:"token,omitempty"`
	By        string    `json:"by,omitempty"`
	Version   int       `json:"version"`
	Salt      string    `json:"salt"`
}

func recordOf(h Host) hostRecord {
	return hostRecord{ID: h.ID, Name: h.Name, Site: h.Site, Class: h.Class, Services: h.Services, Keep: h.Keep,
		RemovedAt: state.Nanos(h.RemovedAt), Drill: h.Drill, Salt: leaf.Salt()}
}

func (r *Registry) recordHost(ctx context.Context, tx *state.Tx, rec hostRecord) error {
	return r.record(ctx, tx, fmt.Sprintf("host/%s/%d", rec.ID, rec.Version), rec)
}

func checkHost(h Host) error {
	switch {
	case h.Name == "" || !plain(h.Name, maxName) || !plain(h.Class, maxName):
		return fault.New(fault.Invalid, "asset.name")
	case !prose(h.Keep, maxText) || len(h.Services) > maxParts:
		return fault.New(fault.Invalid, "asset.text")
	}
	for _, s := range h.Services {
		if s.Name == "" || !plain(s.Name, maxName) || !prose(s.Effect, maxText) || !prose(s.Load, maxText) {
			return fault.New(fault.Invalid, "asset.service")
		}
		if err := s.checkCost(); err != nil {
			return err
		}
	}
	return nil
}

// checkCost says what cannot be right of what stopping the service costs.
func (s Service) checkCost() error {
	for _, names := range [][]string{s.Wards, s.Clinics} {
		if len(names) > maxParts || slices.ContainsFunc(names, func(n string) bool { return n == "" || !plain(n, maxName) }) {
			return fault.New(fault.Invalid, "asset.service-names", s.Name)
		}
	}
	for _, n := range []*int{s.Calls, s.Yen, s.Persons} {
		if n != nil && (*n < 0 || *n > maxCost) {
			return fault.New(fault.Invalid, "asset.service-number", s.Name)
		}
	}
	if slices.ContainsFunc(s.Data, func(c string) bool { return !slices.Contains(DataClasses(), c) }) {
		return fault.New(fault.Invalid, "asset.service-data", s.Name)
	}
	return nil
}

// named gives services without an id one.
func (r *Registry) named(services []Service) []Service {
	out := make([]Service, len(services))
	copy(out, services)
	for i := range out {
		if out[i].ID == "" {
			out[i].ID = clock.ID("sv", r.now())
		}
	}
	return out
}

// SaveHost changes name, class, services and the reason to keep a host
// running. All else of h is ignored.
func (r *Registry) SaveHost(ctx context.Context, h Host, by auth.Person) error {
	if err := checkHost(h); err != nil {
		return err
	}
	h.Services = r.named(h.Services)
	return r.db.Tx(ctx, func(tx *state.Tx) error {
		rec := recordOf(h)
		rec.By, rec.RemovedAt = by.ID, 0
		err := tx.QueryRowContext(ctx, `UPDATE asset_host SET name = $2, class = $3, services = $4, keep = $5, version = version + 1, salt = $6
			WHERE id = $1 AND removed_at = 0 RETURNING version, site, drill`,
			h.ID, h.Name, h.Class, state.JSON(h.Services), h.Keep, rec.Salt).Scan(&rec.Version, &rec.Site, &rec.Drill)
		if errors.Is(err, sql.ErrNoRows) {
			return errHost
		}
		if err != nil {
			return fmt.Errorf("save host %s: %w", h.ID, err)
		}
		return r.recordHost(ctx, tx, rec)
	})
}

// RemoveHost ends the trust in a host: its certificate is refused from now on.
// What it reported stays.
func (r *Registry) RemoveHost(ctx context.Context, id string, by auth.Person) error {
	now := r.now()
	err := r.db.Tx(ctx, func(tx *state.Tx) error {
		h, err := scanHost(tx.QueryRowContext(ctx, `SELECT `+hostColumns+` FROM asset_host WHERE id = $1 AND removed_at = 0`, id))
		if errors.Is(err, sql.ErrNoRows) {
			return errHost
		}
		if err != nil {
			return fmt.Errorf("remove host %s: %w", id, err)
		}
		h.RemovedAt = now
		rec := recordOf(h)
		rec.By = by.ID
		err = tx.QueryRowContext(ctx, `UPDATE asset_host SET removed_at = $2, version = version + 1, salt = $3 WHERE id = $1 RETURNING version`,
			id, state.Nanos(now), rec.Salt).Scan(&rec.Version)
		if err != nil {
			return fmt.Errorf("remove host %s: %w", id, err)
		}
		return r.recordHost(ctx, tx, rec)
	})
	if err == nil {
		r.forget(id)
	}
	return err
}

// AddDrillHost adds or renews a host that exists for a practice incident only.
// It has no agent and no certificate. An id of a real host is refused.
func (r *Registry) AddDrillHost(ctx context.Context, h Host) error {
	if h.ID == "" {
		return fault.New(fault.Invalid, "asset.host-unknown")
	}
	if err := checkHost(h); err != nil {
		return err
	}
	h.Drill, h.RemovedAt = true, time.Time{}
	h.Services = r.named(h.Services)
	return r.db.Tx(ctx, func(tx *state.Tx) error {
		if err := exists(ctx, tx, h.Site); err != nil {
			return err
		}
		rec := recordOf(h)
		err := tx.QueryRowContext(ctx, `SELECT version, drill FROM asset_host WHERE id = $1`, h.ID).Scan(&rec.Version, &rec.Drill)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("add drill host %s: %w", h.ID, err)
		}
		if err == nil && !rec.Drill {
			return fault.New(fault.Conflict, "asset.host-real")
		}
		rec.Version, rec.Drill = rec.Version+1, true
		if err := r.putHost(ctx, tx, h, rec); err != nil {
			return err
		}
		return r.recordHost(ctx, tx, rec)
	})
}

// putHost writes a whole row.
func (r *Registry) putHost(ctx context.Context, tx *state.Tx, h Host, rec hostRecord) error {
	if h.Addresses == nil {
		h.Addresses = []string{}
	}
	if h.EnrolledAt.IsZero() {
		h.EnrolledAt = r.now()
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO asset_host (`+hostColumns+`, version, salt)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, site = excluded.site, class = excluded.class, os = excluded.os,
			agent = excluded.agent, addresses = excluded.addresses, services = excluded.services, keep = excluded.keep,
			removed_at = excluded.removed_at, last_seen = excluded.last_seen, health = excluded.health, hub = excluded.hub,
			version = excluded.version, salt = excluded.salt`,
		h.ID, h.Name, h.Site, h.Class, h.OS, h.Agent, state.JSON(h.Addresses), state.JSON(h.Services), h.Keep,
		state.Nanos(h.EnrolledAt), state.Nanos(h.RemovedAt), state.Nanos(h.LastSeen), state.JSON(h.Health),
		h.Hub, h.Action, state.Nanos(h.LeaseEnd), flag(h.Drill), rec.Version, rec.Salt)
	if err != nil {
		return fmt.Errorf("write host %s: %w", h.ID, err)
	}
	return nil
}
