package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sonae/sonae/protect/job"
)

// Restore brings a snapshot back. The same call again goes on where one ended
// (not before 0.17, which begins anew). A snapshot's rights, owners and times
// are set as far as the account of this process may set them.
func (r Restic) Restore(ctx context.Context, repo Repo, q job.Restoring, tell Tell) (out job.Restored, err error) {
	out.Target = q.Target
	if err := r.can(q); err != nil {
		return out, &Failure{Command: "restore", Cause: Unable, Code: -1, Err: err}
	}
	c := &call{r: r, repo: repo, command: "restore", args: r.restoring(q), json: r.Version.since(full)}
	c.each = func(m message) {
		switch m.Type {
		case "status":
			if tell != nil {
				tell(m.status())
			}
		case "error":
			out.Wrong++
			if len(out.Errors) < job.MaxErrors {
				out.Errors = append(out.Errors, m.text(job.MaxError))
			}
		case "summary":
			out.Files, out.Skipped, out.Bytes = m.FilesRestored, m.FilesSkipped, m.BytesRestored
		}
	}
	if err := c.do(ctx); err != nil {
		return out, err
	}
	if out.Wrong > 0 { // restic ends with 1 then; if ever it does not, this does
		return out, c.failure(Other, 0, fmt.Errorf("%d files were not restored", out.Wrong))
	}
	return out, nil
}

// can says what a version cannot do of what is asked for.
func (r Restic) can(q job.Restoring) error {
	if !job.Absolute(q.Target) {
		return fmt.Errorf("engine: the target %q is not absolute", q.Target)
	}
	if !r.Version.since(full) && (q.DryRun || slices.Contains([]job.Overwrite{job.IfNewer, job.Never}, q.Overwrite)) {
		return errors.New("engine: restic before 0.17 replaces everything that is there")
	}
	return nil
}

func (r Restic) restoring(q job.Restoring) []string {
	args := append(r.locking(), "--target", q.Target)
	if r.Version.since(full) {
		how := q.Overwrite
		if how == "" {
			how = job.Always
		}
		args = append(args, "--overwrite", string(how))
	}
	if r.Version.since(15) {
		args = append(args, "--sparse")
	}
	if q.Verify && !q.DryRun {
		args = append(args, "--verify")
	}
	if q.DryRun {
		args = append(args, "--dry-run")
	}
	for _, p := range q.Include {
		args = append(args, "--include="+literal(p))
	}
	return append(args, q.Snapshot)
}

// literal makes a pattern that means one path only.
func literal(path string) string {
	out := make([]byte, 0, len(path))
	for i := range len(path) {
		switch path[i] {
		case '*', '?', '[', ']', '\\':
			out = append(out, '\\')
		}
		out = append(out, path[i])
	}
	return string(out)
}
