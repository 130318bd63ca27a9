// Package pdf prints a finished page with an installed Chromium.
//
// In: a page that stands alone. Out: a PDF. Always true: the browser runs in
// its own sandbox, as a user without rights when the hub is root, in an empty
// folder of its own; the page loads nothing and runs nothing; its time, its data
// and what it writes are bounded; when it cannot be run that way nothing is
// printed.
package pdf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/report"
)

// Bounds of one print.
const (
	patience  = 90 * time.Second
	maxData   = 4 << 20   // KiB of writable memory of each process
	maxOutput = 128 << 10 // KiB of each file
	maxPDF    = 64 << 20
)

// Find returns the browser to use: the one that is named, else the first that
// is installed. Empty: there is none. An error: the named one is not there.
func Find(named string) (string, error) {
	if named != "" {
		path, err := exec.LookPath(named)
		if err != nil {
			return "", fault.New(fault.Invalid, "config.browser", named).With(err)
		}
		return path, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "microsoft-edge"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", nil
}

// Printer prints with one browser, one page at a time. It is safe for
// concurrent use.
type Printer struct {
	browser string
	log     *slog.Logger
	turn    chan struct{}
}

// New makes a printer for a browser that Find found.
func New(browser string, log *slog.Logger) *Printer {
	return &Printer{browser, log.With("part", "pdf"), make(chan struct{}, 1)}
}

// Make is a report.Maker. Invalid ("report.browser-failed"): the browser did not
// print; the log has its words.
func (p *Printer) Make(ctx context.Context, s report.Source) ([]byte, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("print: %w", ctx.Err())
	}
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	dir, err := os.MkdirTemp("", "sonae-pdf-")
	if err != nil {
		return nil, fmt.Errorf("print: %w", err)
	}
	defer os.RemoveAll(dir)
	cred, err := nobody()
	if err != nil {
		return nil, fmt.Errorf("print: %w", err)
	}
	page, out := filepath.Join(dir, "page.html"), filepath.Join(dir, "page.pdf")
	if err := place(dir, page, shut(s.Page), cred); err != nil {
		return nil, fmt.Errorf("print: %w", err)
	}
	said, err := p.run(ctx, dir, page, out, cred)
	var pdf []byte
	if err == nil {
		pdf, err = take(out)
	}
	if err != nil {
		p.log.Error("the browser printed nothing", "err", err, "said", said)
		return nil, fault.New(fault.Invalid, "report.browser-failed", reason(ctx, err)).With(err)
	}
	return pdf, nil
}

// reason is a short word for people; the log has the rest.
func reason(ctx context.Context, err error) string {
	if ctx.Err() != nil {
		return fmt.Sprintf("> %d s", int(patience.Seconds()))
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.String()
	}
	return "Chromium"
}

// shut is the page with a policy under which it loads and runs nothing. (The
// browser itself needs scripts to print, so they cannot be switched off.)
func shut(page []byte) []byte {
	const policy = `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">`
	head := []byte(`<meta charset="utf-8">`)
	return bytes.Replace(page, head, append(head, policy...), 1)
}

func place(dir, page string, content []byte, cred *syscall.Credential) error {
	if err := os.WriteFile(page, content, 0o600); err != nil {
		return err
	}
	if cred == nil {
		return nil
	}
	return errors.Join(os.Chown(dir, int(cred.Uid), int(cred.Gid)), os.Chown(page, int(cred.Uid), int(cred.Gid)))
}

// nobody is whom the browser runs as when the hub is root: Chromium refuses to
// sandbox itself as root, and without its sandbox it is not run.
func nobody() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// run prints page to out and returns the end of what the browser said.
func (p *Printer) run(ctx context.Context, dir, page, out string, cred *syscall.Credential) (string, error) {
	script := fmt.Sprintf(`ulimit -d %d; ulimit -f %d; ulimit -c 0; exec "$@"`, maxData, maxOutput*2) // -f counts halves of a KiB
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script, "sh", p.browser,
		"--headless", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking", "--disable-sync", "--disable-component-update",
		"--no-first-run", "--no-default-browser-check", "--no-pdf-header-footer", "--renderer-process-limit=1", "--disable-breakpad", "--log-level=3",
		"--proxy-server=127.0.0.1:9", "--host-resolver-rules=MAP * ~NOTFOUND", "--js-flags=--max-old-space-size=256", "--timeout=60000",
		"--user-data-dir="+filepath.Join(dir, "profile"), "--print-to-pdf="+out, "file://"+page)
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "TMPDIR=" + dir, "XDG_RUNTIME_DIR=" + dir, "XDG_CONFIG_HOME=" + dir, "XDG_CACHE_HOME=" + dir, "PATH=/usr/bin:/bin", "LANG=C.UTF-8", "TZ=Asia/Tokyo"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: cred, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	said := &tail{}
	cmd.Stdout, cmd.Stderr = said, said
	err := cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind, if anything
	}
	return strings.TrimSpace(said.String()), err
}

// tail keeps the last 4 KiB.
type tail struct{ bytes.Buffer }

func (t *tail) Write(b []byte) (int, error) {
	n, err := t.Buffer.Write(b)
	if over := t.Len() - 4096; over > 0 {
		t.Next(over)
	}
	return n, err
}

func take(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPDF+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > maxPDF:
		return nil, fmt.Errorf("more than %d bytes", maxPDF)
	case !bytes.HasPrefix(b, []byte("%PDF-")) || !bytes.Contains(b[max(0, len(b)-1024):], []byte("%%EOF")):
		return nil, errors.New("it is no whole PDF")
	}
	return b, nil
}
