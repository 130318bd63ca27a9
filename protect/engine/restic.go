// Package engine drives the program restic.
//
// In: a repository with its password, what is backed up or restored. Out:
// progress, and a snapshot or a Failure. Always true: a password is never in the
// arguments, in the environment or on a disk; a backup in which something could
// not be read is partial and never complete; a stream that broke off becomes no
// snapshot; what a version of restic lacks is said; paths are absolute. The
// standard library and the wire types only: the agent links it.
package engine

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/sonae/sonae/protect/job"
)

// Version of restic.
type Version struct{ Major, Minor, Patch int }

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// since says whether v is 0.minor or newer; that is how restic counts until now.
func (v Version) since(minor int) bool { return v.Major > 0 || v.Minor >= minor }

// Restic is a program that was asked for its version. Its methods are safe for
// concurrent use.
type Restic struct {
	Path    string // absolute
	Version Version
}

// Errors of Find.
var (
	ErrNone = errors.New("engine: there is no restic on this machine")
	ErrOld  = errors.New("engine: restic is older than 0.14")
)

// oldest is the oldest version that is used at all, full the one that lacks
// nothing that matters; both are minor numbers.
const (
	oldest = 14
	full   = 17
)

// versionTime bounds how long a program may take to say its version.
const versionTime = 20 * time.Second

var versionLine = regexp.MustCompile(`^restic (\d{1,4})\.(\d{1,4})\.(\d{1,4})\b`)

// Find asks every candidate (a path, or a name that PATH knows) for its version
// and returns the newest. ErrNone where none runs, ErrOld where all are too old.
func Find(ctx context.Context, candidates ...string) (Restic, error) {
	var best Restic
	errs := []error{ErrNone}
	for _, c := range candidates {
		r, err := Ask(ctx, c)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if best.Path == "" || newer(r.Version, best.Version) {
			best = r
		}
	}
	if best.Path == "" {
		return best, errors.Join(errs...)
	}
	if !best.Version.since(oldest) {
		return best, fmt.Errorf("%w: %s", ErrOld, best.Version)
	}
	return best, nil
}

// Ask runs a program to learn its version.
func Ask(ctx context.Context, program string) (Restic, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return Restic{}, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return Restic{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "version")
	cmd.Env, cmd.WaitDelay = environment(nil), time.Second
	out, err := cmd.Output()
	if err != nil {
		return Restic{}, fmt.Errorf("%s version: %w", path, err)
	}
	v, ok := parseVersion(out)
	if !ok {
		return Restic{}, fmt.Errorf("%s is no restic", path)
	}
	return Restic{Path: path, Version: v}, nil
}

func parseVersion(out []byte) (v Version, ok bool) {
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return v, false
	}
	for i, into := range []*int{&v.Major, &v.Minor, &v.Patch} {
		*into, _ = strconv.Atoi(string(m[i+1])) // at most four digits
	}
	return v, true
}

func newer(a, b Version) bool {
	if a.Major != b.Major {
		return a.Major > b.Major
	}
	if a.Minor != b.Minor {
		return a.Minor > b.Minor
	}
	return a.Patch > b.Patch
}

// Things that versions of restic lack, from its change log.
const (
	LacksSparse    = "sparse"         // holes of a disk image are written out (before 0.15)
	LacksStored    = "stored"         // how much was stored is not told (before 0.17)
	LacksACL       = "acl"            // rights of Windows files are not kept (before 0.17)
	LacksOverwrite = "overwrite"      // a restore replaces everything, it cannot go on (before 0.17)
	LacksProgress  = "progress"       // a restore says nothing about its progress (before 0.17)
	LacksChunker   = job.LacksChunker // sizes of pieces can give contents away (before 0.18)
)

// Lacks lists what this version cannot do, the most important first. A version
// that lacks anything but LacksChunker is a reduced one.
func (r Restic) Lacks() (out []string) {
	for _, l := range []struct {
		what  string
		since int
	}{{LacksACL, full}, {LacksOverwrite, full}, {LacksProgress, full}, {LacksSparse, 15}, {LacksStored, full}, {LacksChunker, 18}} {
		if !r.Version.since(l.since) {
			out = append(out, l.what)
		}
	}
	return out
}

// Reduced says that this version is used because there is no better one.
func (r Restic) Reduced() bool { return !r.Version.since(full) }
