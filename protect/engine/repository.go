package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Init makes the repository. One that is there already is left as it is, and is
// no error.
func (r Restic) Init(ctx context.Context, repo Repo) error {
	err := r.Open(ctx, repo)
	if CauseOf(err) != NoRepository {
		return err
	}
	return (&call{r: r, repo: repo, command: "init"}).do(ctx)
}

// InitLike makes a repository that cuts files in the same places as another one,
// so that what is copied from it needs no more room.
func (r Restic) InitLike(ctx context.Context, repo, other Repo) error {
	err := r.Open(ctx, repo)
	if CauseOf(err) != NoRepository {
		return err
	}
	return (&call{r: r, repo: repo, from: &other, command: "init", args: []string{"--copy-chunker-params"}}).do(ctx)
}

// Open says whether the repository is there and the password opens it.
func (r Restic) Open(ctx context.Context, repo Repo) error {
	c := &call{r: r, repo: repo, command: "cat", args: []string{"config", "--no-lock"}}
	c.other = func(line []byte) bool { return line[0] == '{' || line[0] == '}' || line[0] == ' ' } // the configuration itself
	return c.do(ctx)
}

// Unlock removes locks that nobody holds any more; those of living programs stay.
func (r Restic) Unlock(ctx context.Context, repo Repo) error {
	return (&call{r: r, repo: repo, command: "unlock"}).do(ctx)
}

// Check verifies the structure of a repository, and with all every byte.
func (r Restic) Check(ctx context.Context, repo Repo, all bool) error {
	args := r.locking()
	if all {
		args = append(args, "--read-data")
	}
	return (&call{r: r, repo: repo, command: "check", args: args}).do(ctx)
}

// Copy copies snapshots (full ids; none: all) from one repository to another,
// leaving out what is there already.
func (r Restic) Copy(ctx context.Context, from, to Repo, snapshots ...string) error {
	return (&call{r: r, repo: to, from: &from, command: "copy", args: append(r.locking(), snapshots...)}).do(ctx)
}

// Listed is a snapshot as restic lists it.
type Listed struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Hostname string    `json:"hostname"`
	Paths    []string  `json:"paths"`
	Tags     []string  `json:"tags"`
}

// Snapshots lists those that carry all of the tags, oldest first.
func (r Restic) Snapshots(ctx context.Context, repo Repo, tags ...string) ([]Listed, error) {
	args := []string{"--no-lock"}
	if len(tags) > 0 {
		all := tags[0]
		for _, t := range tags[1:] {
			all += "," + t
		}
		args = append(args, "--tag", all)
	}
	var list []Listed
	var bad error
	c := &call{r: r, repo: repo, command: "snapshots", args: args, json: true}
	c.other = func(line []byte) bool {
		if line[0] != '[' {
			return false
		}
		bad = json.Unmarshal(line, &list)
		return true
	}
	if err := c.do(ctx); err != nil {
		return nil, err
	}
	if bad != nil {
		return nil, fmt.Errorf("restic snapshots: %w", bad)
	}
	return list, nil
}
