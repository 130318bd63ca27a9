package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/state"
)

// ToolState is how far a tool is.
type ToolState string

// States of a tool: it waits for a second person, is handed out, was refused or
// taken back.
const (
	ToolAsked     ToolState = "asked"
	ToolApproved  ToolState = "approved"
	ToolRefused   ToolState = "refused"
	ToolWithdrawn ToolState = "withdrawn"
)

// Tool is a restic for machines that have none, or one that is too old (道具). It
// is never run at the hub: what is said of it was read from it.
type Tool struct {
	ID        string    `json:"id"`
	File      string    `json:"file"` // as it was called
	OS        string    `json:"os"`
	Arch      string    `json:"arch"`
	Version   string    `json:"version"` // as the program says of itself, else as the person said; machines compare it
	Said      bool      `json:"said"`    // a person said the version
	Go        string    `json:"go"`      // what it was built with
	Revision  string    `json:"revision,omitempty"`
	SHA256    string    `json:"sha256"`
	Size      int64     `json:"size"`
	Why       string    `json:"why"` // where it is from
	State     ToolState `json:"state"`
	AskedBy   string    `json:"asked_by"`
	AskedAt   time.Time `json:"asked_at"`
	DecidedBy string    `json:"decided_by,omitempty"`
	DecidedAt time.Time `json:"decided_at,omitzero"`
	Reason    string    `json:"reason,omitempty"` // why it was refused or taken back
}

const (
	kindTool = "tool"
	// MaxTool bounds a tool, in bytes; restic has about 30 MB.
	MaxTool = 100 << 20
	// leastTool is the oldest restic that lacks nothing that matters (0.17).
	leastTool = 17
	restics   = "github.com/restic/restic/cmd/restic"
)

var toolVersion = regexp.MustCompile(`^v?0\.(\d{1,3})\.\d{1,3}$`)

// AddTool keeps a program until a second person approves it. number is the version, used where
// the program does not say its own.
//
// Errors: fault.Invalid "vault.tool-unknown" when it is no restic that was built
// with Go's build information, "vault.tool-version" when it is older than 0.17 or
// says none; fault.Conflict "vault.tool-there" when it is there already.
func (v *Vault) AddTool(ctx context.Context, file, number, why string, body []byte, by auth.Person) (Tool, error) {
	why, err := reasonOf(why)
	if err != nil {
		return Tool{}, err
	}
	if file, err = clean(file, maxName); err != nil {
		return Tool{}, err
	}
	t, err := readTool(body, number)
	if err != nil {
		return Tool{}, err
	}
	now := v.moment()
	t.ID, t.File, t.Why, t.State, t.AskedBy, t.AskedAt = clock.ID("vt", now), file, why, ToolAsked, by.ID, now
	all, err := v.Tools(ctx)
	if err != nil {
		return Tool{}, err
	}
	if slices.ContainsFunc(all, func(x Tool) bool {
		return x.SHA256 == t.SHA256 && (x.State == ToolAsked || x.State == ToolApproved)
	}) {
		return Tool{}, fault.New(fault.Conflict, "vault.tool-there")
	}
	if err := v.Depot.Put(ctx, t.SHA256, bytes.NewReader(body), t.Size); err != nil && !blob.IsExists(err) {
		return Tool{}, fmt.Errorf("keep tool: %w", err)
	}
	return t, v.create(ctx, version{ID: t.ID, Kind: kindTool, By: by.ID}, t, said{})
}

// readTool reads what a program says of itself, without running it.
func readTool(body []byte, number string) (Tool, error) {
	unknown := fault.New(fault.Invalid, "vault.tool-unknown")
	if len(body) == 0 || len(body) > MaxTool {
		return Tool{}, unknown.With(fmt.Errorf("%d bytes", len(body)))
	}
	info, err := buildinfo.Read(bytes.NewReader(body))
	if err != nil {
		return Tool{}, unknown.With(err)
	}
	if info.Path != restics {
		return Tool{}, unknown.With(fmt.Errorf("it is %.100q", info.Path))
	}
	sum := sha256.Sum256(body)
	t := Tool{Go: info.GoVersion, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(body))}
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS":
			t.OS = s.Value
		case "GOARCH":
			t.Arch = s.Value
		case "vcs.revision":
			t.Revision = s.Value
		}
	}
	if t.OS == "" || t.Arch == "" {
		return Tool{}, unknown.With(errors.New("it does not say for which machines it was built"))
	}
	if t.Version = info.Main.Version; !toolVersion.MatchString(t.Version) {
		t.Version, t.Said = number, true
	}
	m := toolVersion.FindStringSubmatch(t.Version)
	if m == nil {
		return Tool{}, fault.New(fault.Invalid, "vault.tool-version")
	}
	if minor, err := strconv.Atoi(m[1]); err != nil || minor < leastTool {
		return Tool{}, fault.New(fault.Invalid, "vault.tool-version")
	}
	if t.Version[0] == 'v' {
		t.Version = t.Version[1:]
	}
	return t, nil
}

// ApproveTool lets machines fetch a tool. It takes an approver who did not bring it.
func (v *Vault) ApproveTool(ctx context.Context, id string, by auth.Person) error {
	return alter(ctx, v, kindTool, id, by, func(_ *state.Tx, _ string, t *Tool) (said, error) {
		if t.State != ToolAsked {
			return said{}, fault.New(fault.Conflict, "vault.not-waiting")
		}
		if err := another(t.AskedBy, by); err != nil {
			return said{}, err
		}
		t.State, t.DecidedBy, t.DecidedAt = ToolApproved, by.ID, v.moment()
		return said{}, nil
	})
}

// StopTool refuses a tool that waits, and takes one back that is handed out. One
// person is enough; machines use it no more from their next job on.
func (v *Vault) StopTool(ctx context.Context, id, reason string, by auth.Person) error {
	reason, err := reasonOf(reason)
	if err != nil {
		return err
	}
	return alter(ctx, v, kindTool, id, by, func(_ *state.Tx, _ string, t *Tool) (said, error) {
		switch t.State {
		case ToolAsked:
			t.State = ToolRefused
		case ToolApproved:
			t.State = ToolWithdrawn
		default:
			return said{}, fault.New(fault.Conflict, "vault.not-waiting")
		}
		t.DecidedBy, t.DecidedAt, t.Reason = by.ID, v.moment(), reason
		return said{}, nil
	})
}

// Tools are all tools, the newest first.
func (v *Vault) Tools(ctx context.Context) ([]Tool, error) {
	return list[Tool](ctx, v, kindTool, "", "", 200)
}

// ToolByID returns one tool, or fault.Missing.
func (v *Vault) ToolByID(ctx context.Context, id string) (Tool, error) {
	t, _, err := get[Tool](ctx, v, kindTool, id)
	return t, err
}

// Handed are the tools that machines may fetch, as jobs name them: for each kind
// of machine the one that was approved last.
func (v *Vault) Handed(ctx context.Context) ([]job.Tool, error) {
	all, err := v.Tools(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b Tool) int { return b.DecidedAt.Compare(a.DecidedAt) })
	var out []job.Tool
	for _, t := range all {
		there := slices.ContainsFunc(out, func(x job.Tool) bool { return x.OS == t.OS && x.Arch == t.Arch })
		if t.State == ToolApproved && !there {
			out = append(out, job.Tool{OS: t.OS, Arch: t.Arch, Version: t.Version, SHA256: t.SHA256, Size: t.Size})
		}
	}
	return out, nil
}

// OpenTool opens an approved tool for a host that is trusted: fault.Missing when
// there is none of that hash.
func (v *Vault) OpenTool(ctx context.Context, host, sum string) (io.ReadCloser, int64, error) {
	if _, err := v.member(ctx, host); err != nil {
		return nil, 0, err
	}
	all, err := v.Handed(ctx)
	if err != nil {
		return nil, 0, err
	}
	i := slices.IndexFunc(all, func(t job.Tool) bool { return t.SHA256 == sum })
	if i < 0 {
		return nil, 0, fault.New(fault.Missing, "vault.missing")
	}
	r, _, err := v.Depot.Get(ctx, sum)
	if err != nil {
		return nil, 0, fmt.Errorf("hand out tool %s: %w", sum, err)
	}
	v.Log.Info("tool is fetched", "host", host, "sha256", sum)
	return r, all[i].Size, nil
}
