package history

import (
	"context"
	"strconv"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/protect/vault"
)

// vault tells of paths that were cut, and of what became of repositories.
func (r *reading) vault(ctx context.Context) error {
	p, err := r.Vault.Past(ctx, r.f.Site, r.f.From)
	if err != nil {
		return err
	}
	var all []Line
	for _, c := range p.Cuts {
		all = append(all, cutLines(c)...)
	}
	for _, x := range p.Passes {
		all = append(all, passLines(x)...)
	}
	for _, x := range p.Prunes {
		all = append(all, pruneLines(x)...)
	}
	for _, x := range p.Refusals {
		all = append(all, Line{At: x.Last, Kind: Repository, Mark: Bad, Host: x.Agent, Ref: x.ID, Key: "vault.refused",
			Args: map[string]string{"host": x.Agent, "count": strconv.Itoa(x.Count), "why_key": "fault." + x.Key}})
	}
	for _, x := range p.Reads {
		all = append(all, readLine(x))
	}
	for _, l := range all {
		if err := r.add(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func cutLines(c vault.Cut) []Line {
	running, also := 0, make([]string, 0, len(c.Paths))
	for _, p := range c.Paths {
		also = append(also, p.Agent)
		if p.Working {
			running++
		}
	}
	l := Line{At: c.At, Kind: Cut, Mark: Bad, Site: c.Site, Host: c.Host, Ref: c.ID, Incident: c.Incident, Key: "vault.cut", also: also, Args: map[string]string{"site": c.Site, "host": c.Host,
		"paths": strconv.Itoa(len(c.Paths)), "running": strconv.Itoa(running), "title_ja": c.Title.In("ja"), "title_en": c.Title.In("en"), "why_ja": c.Why, "why_en": c.Why, "by": c.By}}
	l.pending = c.Finding != "" && c.Incident == "" // the incident of the alert is told at once, see vault.Attach
	if c.Holds() {
		return []Line{l}
	}
	back := Line{At: c.ReleasedAt, Kind: Cut, Site: c.Site, Host: c.Host, Ref: c.ID, Incident: c.Incident, Key: "vault.released", also: also,
		Args: map[string]string{"site": c.Site, "by": c.ReleasedBy, "reason": c.Reason}}
	return []Line{l, back}
}

// passLines tells who asked to read a repository, who decided, and who got the
// token.
func passLines(x vault.Pass) (out []Line) {
	step := func(at time.Time, key string, args map[string]string) {
		if at.IsZero() {
			return
		}
		args["host"] = x.Agent
		out = append(out, Line{At: at, Kind: Repository, Site: x.Site, Host: x.Agent, Ref: x.ID, Incident: x.Incident, Key: "vault.pass-" + key, Args: args})
	}
	asked := map[string]string{"by": x.AskedBy, "as_of": "", "reason": x.Why}
	if !x.AsOf.IsZero() {
		delete(asked, "as_of")
		asked["as_of_at"] = x.AsOf.UTC().Format(time.RFC3339)
	}
	step(x.AskedAt, "asked", asked)
	if x.State == vault.PassRefused {
		step(x.DecidedAt, "refused", map[string]string{"by": x.DecidedBy, "reason": x.Reason})
		return out
	}
	step(x.DecidedAt, "approved", map[string]string{"by": x.DecidedBy, "until_at": x.Until.UTC().Format(time.RFC3339)})
	step(x.TakenAt, "taken", map[string]string{"by": x.TakenBy})
	step(x.EndedAt, "ended", map[string]string{"by": x.EndedBy, "reason": x.Reason})
	return out
}

// pruneLines tells who wanted old generations to go, and who decided.
func pruneLines(x vault.Prune) []Line {
	l := Line{At: x.AskedAt, Kind: Repository, Site: x.Site, Host: x.Agent, Ref: x.ID, Key: "vault.prune-asked",
		Args: map[string]string{"host": x.Agent, "by": x.AskedBy, "reason": x.Why, "count": strconv.Itoa(x.Goes())}}
	if x.DecidedAt.IsZero() {
		return []Line{l}
	}
	done := l
	done.At, done.Key = x.DecidedAt, "vault.prune-approved"
	done.Args = map[string]string{"host": x.Agent, "by": x.DecidedBy, "reason": x.Reason, "count": l.Args["count"]}
	if x.State == vault.PruneRefused || x.State == vault.PruneStopped {
		done.Key = "vault.prune-stopped"
	}
	return []Line{l, done}
}

func readLine(x vault.Read) Line {
	l := Line{At: x.Ended, Kind: Repository, Mark: Good, Host: x.Agent, Ref: x.ID, Key: "vault.read-sound",
		Args: map[string]string{"host": x.Agent, "size": alert.Bytes(x.Bytes), "packs": strconv.Itoa(x.Packs)}}
	switch x.Result {
	case vault.Damaged:
		l.Mark, l.Key = Bad, "vault.read-damaged"
		l.Args["count"] = strconv.Itoa(len(x.Damages) + x.More)
	case vault.Unread:
		l.Mark, l.Key = Bad, "vault.read-unread"
		l.Args["why"] = x.Why
	}
	return l
}
