package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/sonae/sonae/protect/engine"
	"github.com/sonae/sonae/protect/job"
)

// toolTime bounds the fetching of a tool.
const toolTime = 30 * time.Minute

// program finds restic: the machine's own where it lacks nothing that matters,
// else the one that people approved at the hub. Where that cannot be had, an own
// one that lacks something is better than no backup.
func (r *Runner) program(ctx context.Context, tools []job.Tool) (engine.Restic, error) {
	own, err := engine.Find(ctx, r.cfg.Restic...)
	if err == nil && !own.Reduced() {
		return own, nil
	}
	i := slices.IndexFunc(tools, func(t job.Tool) bool { return t.OS == runtime.GOOS && t.Arch == runtime.GOARCH })
	if i < 0 {
		return own, err
	}
	kept, toolErr := r.tool(ctx, tools[i])
	if toolErr == nil {
		return kept, nil
	}
	r.cfg.Log.Warn("the hub's restic cannot be used", "version", tools[i].Version, "err", toolErr)
	if err != nil {
		return own, errors.Join(err, toolErr)
	}
	return own, nil
}

// tool returns a tool of the hub; it is fetched the first time. Its bytes are
// compared with the signed job before each use.
func (r *Runner) tool(ctx context.Context, t job.Tool) (engine.Restic, error) {
	path := filepath.Join(r.cfg.Dir, "tools", t.SHA256, "restic")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	if sum, err := sumOf(path); err != nil || sum != t.SHA256 {
		if err := r.fetch(ctx, t, path); err != nil {
			return engine.Restic{}, fmt.Errorf("fetch restic %s: %w", t.Version, err)
		}
	}
	if err := trusted(path); err != nil {
		return engine.Restic{}, err
	}
	found, err := engine.Ask(ctx, path)
	if err == nil && found.Version.String() != t.Version {
		err = fmt.Errorf("it says that it is %s, not %s", found.Version, t.Version)
	}
	return found, err
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// fetch stores a tool once it is whole and the one that was signed.
func (r *Runner) fetch(ctx context.Context, t job.Tool, path string) error {
	ctx, done := context.WithTimeout(ctx, toolTime)
	defer done()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://hub/agent/v1/tools/"+t.SHA256, nil)
	if err != nil {
		return err
	}
	res, err := r.cfg.Link.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the hub answers %s", res.Status)
	}
	part, err := os.CreateTemp(filepath.Dir(path), "part-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(part.Name()) }() // it has its name by then
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(part, sum), io.LimitReader(res.Body, t.Size+1))
	if err = errors.Join(err, part.Chmod(0o700), part.Sync(), part.Close()); err != nil {
		return err
	}
	if n != t.Size || hex.EncodeToString(sum.Sum(nil)) != t.SHA256 {
		return errors.New("it is not the program that was signed")
	}
	r.cfg.Log.Info("restic was fetched", "version", t.Version, "sha256", t.SHA256)
	return os.Rename(part.Name(), path)
}
