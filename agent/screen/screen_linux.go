package screen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sonae/sonae/action/order"
)

// Config says where the sessions are and what shows a note. Zero fields are
// those of the system.
type Config struct {
	Runtime string   // folder of the users' own folders; /run/user
	Notify  string   // notify-send of libnotify, 0.8 or later for the button
	Wall    []string // command that writes its input to all terminals; wall
	Who     []string // command that lists who is logged in at which terminal; who
}

// Screen shows notes: on desktops through the notifications of each user's own
// session, on terminals through wall. It is safe for concurrent use.
type Screen struct{ cfg Config }

// New returns the Screen of this machine.
func New(cfg Config) *Screen {
	if cfg.Runtime == "" {
		cfg.Runtime = "/run/user"
	}
	if cfg.Notify == "" {
		cfg.Notify = "notify-send"
	}
	if len(cfg.Wall) == 0 {
		cfg.Wall = []string{"wall"}
	}
	if len(cfg.Who) == 0 {
		cfg.Who = []string{"who"}
	}
	return &Screen{cfg: cfg}
}

// wallFor bounds wall, which a terminal that is stopped can hold up.
const wallFor = 20 * time.Second

// showing is how soon notify-send fails where nothing shows notifications.
const showing = 1500 * time.Millisecond

// Show shows a note on every session and waits until all of them are gone, at
// most n.For. tell is called from one goroutine at a time. The error joins what
// went wrong on sessions; others show the note all the same.
func (s *Screen) Show(ctx context.Context, n order.Note, tell func(Sign)) error {
	ctx, stop := context.WithTimeout(ctx, n.For)
	defer stop()
	n.Title, n.Text, n.Button = clean(n.Title, maxTitle), clean(n.Text, maxText), clean(n.Button, maxButton)
	var mu sync.Mutex
	say := func(g Sign) {
		mu.Lock()
		defer mu.Unlock()
		tell(g)
	}
	buses, err := filepath.Glob(filepath.Join(s.cfg.Runtime, "*", "bus"))
	if err != nil {
		return err
	}
	errs := make([]error, len(buses)+1)
	var all sync.WaitGroup
	for i, bus := range buses {
		all.Go(func() { errs[i] = s.desktop(ctx, bus, n, say) })
	}
	errs[len(buses)] = s.terminals(ctx, n, say)
	all.Wait()
	return errors.Join(errs...)
}

// desktop shows a note to the user whose session bus lies at a path. It runs as
// that user, who alone may speak to it.
func (s *Screen) desktop(ctx context.Context, bus string, n order.Note, say func(Sign)) error {
	info, err := os.Stat(bus)
	if err != nil {
		return nil // logged out meanwhile
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode()&os.ModeSocket == 0 {
		return nil
	}
	at := Sign{Session: "uid " + strconv.FormatUint(uint64(owner.Uid), 10)}
	if u, err := user.LookupId(strconv.FormatUint(uint64(owner.Uid), 10)); err == nil {
		at.User = u.Username
	}
	urgency := "normal"
	if n.Urgent {
		urgency = "critical"
	}
	cmd := exec.CommandContext(ctx, s.cfg.Notify, "--app-name=Sonae", "--urgency="+urgency, "--expire-time="+strconv.FormatInt(n.For.Milliseconds(), 10),
		"--action=seen="+n.Button, "--", n.Title, plainMarkup(n.Text))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "XDG_RUNTIME_DIR=" + filepath.Dir(bus), "DBUS_SESSION_BUS_ADDRESS=unix:path=" + bus}
	if int(owner.Uid) != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	return follow(ctx, cmd, at, say)
}

// follow runs notify-send, which ends when the note is gone and prints the
// button that was pressed. That it still runs after a moment says that the
// desktop took the note.
func follow(ctx context.Context, cmd *exec.Cmd, at Sign, say func(Sign)) error {
	var out, trouble bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &trouble
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("screen: %s: %w", at.Session, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	timer := time.NewTimer(showing)
	defer timer.Stop()
	var err error
	select {
	case err = <-ended:
		if err == nil {
			say(at)
		}
	case <-timer.C:
		say(at)
		err = <-ended
	}
	if strings.TrimSpace(out.String()) == "seen" {
		at.Seen = true
		say(at)
		return nil
	}
	if err == nil || ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("screen: %s: %w: %s", at.Session, err, clean(trouble.String(), maxTitle))
}

// plainMarkup keeps what a watched machine chose from being read as marks by
// the desktop.
func plainMarkup(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// terminals writes a note to all terminals that somebody is logged in at. Nobody
// can answer there.
func (s *Screen) terminals(ctx context.Context, n order.Note, say func(Sign)) error {
	ctx, stop := context.WithTimeout(ctx, wallFor)
	defer stop()
	who, err := run(ctx, s.cfg.Who, "")
	if err != nil || strings.TrimSpace(who) == "" {
		return err
	}
	if _, err := run(ctx, s.cfg.Wall, n.Title+"\n\n"+n.Text+"\n"); err != nil {
		return err
	}
	for line := range strings.Lines(who) {
		if f := strings.Fields(line); len(f) > 1 {
			say(Sign{Session: f[1], User: f[0]})
		}
	}
	return nil
}

// run runs a command for terminals in UTF-8, else wall writes Japanese as
// numbers.
func run(ctx context.Context, command []string, input string) (string, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}
	cmd.Stdin = strings.NewReader(input)
	var out, trouble bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &trouble
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("screen: terminals: %w: %s", err, clean(trouble.String(), maxTitle))
	}
	return out.String(), nil
}
