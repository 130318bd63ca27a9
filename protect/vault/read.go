package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/state"
)

// Scope is which packs a read is about.
type Scope string

// Scopes: what came since the last one; one part of the whole, another one each
// night; everything, with all contents of all snapshots.
const (
	ReadNew  Scope = "new"
	ReadPart Scope = "part"
	ReadAll  Scope = "all"
)

// Result is how a read ended.
type Result string

// Results. What could not be read to its end is never called sound.
const (
	Sound   Result = "sound"
	Damaged Result = "damaged"
	Unread  Result = "unread" // it could not run to its end
)

// Read is one read of packs by our own reader, which knows nothing of restic
// (読み直し).
type Read struct {
	ID      string    `json:"id"`
	Agent   string    `json:"agent"`
	Scope   Scope     `json:"scope"`
	Part    int       `json:"part"` // of parts, for ReadPart
	Night   string    `json:"night,omitempty"`
	Begun   time.Time `json:"begun"`
	Ended   time.Time `json:"ended"`
	Upto    time.Time `json:"upto"` // what was received until then was looked at
	Packs   int       `json:"packs"`
	Bytes   int64     `json:"bytes"`
	Result  Result    `json:"result"`
	Damages []string  `json:"damages,omitempty"` // with file and offset, at most 20
	More    int       `json:"more,omitempty"`
	Why     string    `json:"why,omitempty"` // why it could not be read to its end
}

const (
	parts      = 30 // nights until everything was read again
	maxDamages = 20
	newEvery   = time.Hour
	// nightFrom is from which hour (Japan) the part of a night is read. A hub that
	// was off then reads it later.
	nightFrom = 1
)

// readDue reads what is due of a repository: what came since the last read, and
// the part of this night.
func (v *Vault) readDue(ctx context.Context, agent string) error {
	repo, err := v.repository(ctx, agent)
	if err != nil || !repo.Begun() {
		return err
	}
	before, err := v.Reads(ctx, agent)
	if err != nil {
		return err
	}
	now := v.moment()
	if since, due := newDue(before, now); due && newSince(repo.Receipts(), since) {
		if err := v.read(ctx, repo, Read{Agent: agent, Scope: ReadNew}, packsSince(repo.Receipts(), since)); err != nil {
			return err
		}
	}
	night, part := nightOf(now)
	if night == "" || readThatNight(before, night) {
		return nil
	}
	return v.read(ctx, repo, Read{Agent: agent, Scope: ReadPart, Part: part, Night: night}, func(id restic.ID) bool { return partOf(id) == part })
}

// partOf says in which part a pack is read: names are evenly spread.
func partOf(id restic.ID) int { return (int(id[0])<<8 | int(id[1])) % parts }

// nightOf names the night and its part; "" before the hour at which it begins.
func nightOf(now time.Time) (string, int) {
	t := now.In(clock.Tokyo())
	if t.Hour() < nightFrom {
		return "", 0
	}
	days := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC).Unix() / 86400
	return t.Format(time.DateOnly), int(days % parts)
}

func readThatNight(before []Read, night string) bool {
	for _, r := range before {
		if r.Night == night {
			return true
		}
	}
	return false
}

// newDue is since when what came was not read, and whether it is time to. A read
// that seems to come from the future was made before the clock was set back: it
// keeps none from being made now.
func newDue(before []Read, now time.Time) (since time.Time, due bool) {
	lately := func(r Read) bool { age := now.Sub(r.Begun); return age >= 0 && age < newEvery }
	found, soon := false, false
	for _, r := range before {
		if r.Scope != ReadPart && r.Result != Unread {
			found, soon = true, soon || lately(r)
			if r.Upto.After(since) {
				since = r.Upto
			}
		}
	}
	if found {
		return since, !soon
	}
	return time.Time{}, len(before) == 0 || !lately(before[0])
}

func newSince(all []repository.Receipt, since time.Time) bool {
	for _, r := range all {
		if r.Kind == restic.Data && r.At.After(since) {
			return true
		}
	}
	return false
}

func packsSince(all []repository.Receipt, since time.Time) func(restic.ID) bool {
	fresh := map[restic.ID]bool{}
	for _, r := range all {
		if id, err := restic.ParseID(r.Name); err == nil && r.Kind == restic.Data && r.At.After(since) {
			fresh[id] = true
		}
	}
	return func(id restic.ID) bool { return fresh[id] }
}

// AskRead has everything of a repository read again soon, with all contents of
// all snapshots.
func (v *Vault) AskRead(ctx context.Context, agent string, _ auth.Person) error {
	if _, _, err := get[settings](ctx, v, kindRepository, agent); err != nil {
		return err
	}
	select {
	case v.asked <- agent:
		return nil
	default:
		return fault.New(fault.Busy, "vault.reading")
	}
}

func (v *Vault) readAll(ctx context.Context, agent string) error {
	repo, err := v.repository(ctx, agent)
	if err != nil || !repo.Begun() {
		return err
	}
	return v.read(ctx, repo, Read{Agent: agent, Scope: ReadAll}, nil)
}

// read reads packs and keeps what came of it.
func (v *Vault) read(ctx context.Context, repo *repository.Repository, r Read, only func(restic.ID) bool) error {
	r.Begun = v.moment()
	r.ID, r.Upto = clock.ID("vd", r.Begun), repo.Last()
	view := repo.AsOf(r.Upto) // what comes meanwhile is for the next one: its index may be missing yet
	reader, err := view.Reader(ctx)
	if err == nil {
		err = r.take(reader.Verify(ctx, restic.Options{Workers: 1, Only: only}))
	}
	if ctx.Err() != nil { // the hub is stopped: it begins again
		return nil
	}
	if r.Ended = v.moment(); err != nil {
		r.Result, r.Why = Unread, err.Error()
	}
	s, _, err := get[settings](ctx, v, kindRepository, r.Agent)
	if err != nil {
		return err
	}
	site, err := v.siteOf(ctx, s)
	if err != nil {
		return err
	}
	return v.db.Tx(ctx, func(tx *state.Tx) error {
		if err := v.put(ctx, tx, version{ID: r.ID, Kind: r.kind(), Agent: r.Agent, Site: site, By: Hub}, r, said{}); err != nil {
			return err
		}
		switch r.Result {
		case Damaged:
			text := r.Damages[0]
			if n := len(r.Damages) + r.More - 1; n > 0 {
				text += fmt.Sprintf(" (+%d)", n)
			}
			return emitFinding(ctx, tx, finding(RuleDamage, r.Agent, site, r.ID, r.Ended, map[string]string{"Damage": text, "Read": r.ID}))
		case Unread:
			return emitFinding(ctx, tx, finding(RuleUnread, r.Agent, site, r.ID, r.Ended, map[string]string{"Reason": r.Why, "Read": r.ID}))
		}
		return nil
	})
}

// take keeps what the reader found. An error is why it could not read to its end.
func (r *Read) take(report *restic.Report, err error) error {
	if err != nil {
		return err
	}
	r.Packs, r.Bytes, r.Result = report.Packs, report.Bytes, Sound
	for _, d := range report.Damages {
		if len(r.Damages) < maxDamages {
			r.Damages = append(r.Damages, d.Error())
		}
	}
	if r.More = report.More + len(report.Damages) - len(r.Damages); !report.Sound() {
		r.Result = Damaged
	}
	for _, s := range report.Snapshots {
		if r.Scope == ReadAll && !s.Sound && r.Result == Sound {
			return errors.New("snapshot " + s.ID.String() + " is not sound, and no damage says why")
		}
	}
	return nil
}

// kind keeps apart the many reads of every hour that found nothing.
func (r Read) kind() string {
	if r.Scope == ReadNew && r.Result == Sound {
		return kindReadNew
	}
	return kindRead
}

// Reads are the newest reads of a repository, the newest first: of those that
// found nothing in what had just come only the last two days, of all others
// about half a year.
func (v *Vault) Reads(ctx context.Context, agent string) ([]Read, error) {
	all, err := list[Read](ctx, v, kindRead, agent, "", 200)
	if err != nil {
		return nil, err
	}
	fresh, err := list[Read](ctx, v, kindReadNew, agent, "", 48)
	all = append(all, fresh...)
	slices.SortFunc(all, func(a, b Read) int { return cmp.Or(b.Begun.Compare(a.Begun), strings.Compare(b.ID, a.ID)) })
	return all, err
}

// Level is how well it is known that a repository is sound.
type Level struct {
	State LevelState `json:"state"`
	At    time.Time  `json:"at,omitzero"` // of the read that says so
	Since time.Time  `json:"since,omitzero"`
	Why   string     `json:"why,omitempty"`
}

// LevelState is the state of a level.
type LevelState string

// States: sound; something is damaged; the last read could not run to its end; the
// last read of some part is too long ago; nothing was read yet.
const (
	LevelSound   LevelState = "sound"
	LevelDamaged LevelState = "damaged"
	LevelUnread  LevelState = "unread"
	LevelStale   LevelState = "stale"
	LevelNever   LevelState = "never"
)

// staleAfter is how old the oldest part may be: a few nights may be missed.
const staleAfter = (parts + 5) * 24 * time.Hour

// levelOf says what reads (the newest first) prove about a repository that was
// begun at a time. A damage stays until everything was read again and is sound.
func levelOf(reads []Read, begun, now time.Time) Level {
	if len(reads) == 0 {
		return Level{State: LevelNever}
	}
	for _, r := range reads {
		if r.Result == Damaged {
			return Level{State: LevelDamaged, At: r.Ended, Why: r.Damages[0]}
		}
		if r.Scope == ReadAll && r.Result == Sound {
			break
		}
	}
	if r := reads[0]; r.Result == Unread {
		return Level{State: LevelUnread, At: r.Ended, Why: r.Why}
	}
	oldest := begun
	last := [parts]time.Time{}
	for _, r := range reads {
		for p := range last {
			if r.Result == Sound && (r.Scope == ReadAll || r.Scope == ReadPart && r.Part == p) && r.Begun.After(last[p]) {
				last[p] = r.Begun
			}
		}
	}
	for i, at := range last {
		if at.IsZero() {
			at = begun // every pack was read when it came
		}
		if i == 0 || at.Before(oldest) {
			oldest = at
		}
	}
	if now.Sub(oldest) > staleAfter {
		return Level{State: LevelStale, At: reads[0].Ended, Since: oldest}
	}
	return Level{State: LevelSound, At: reads[0].Ended, Since: oldest}
}
