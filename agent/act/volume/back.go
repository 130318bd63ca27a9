package volume

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// volume is a mount with how it is mounted again.
type volume struct {
	mount
	Link string `json:"link,omitempty"` // of its device, by what is written on it
	Back way    `json:"back"`
}

// way is how a volume is mounted again.
type way string

const (
	byTable   way = "fstab"   // as the machine's owner wrote it down, with its file of credentials
	byOptions way = "options" // as the kernel showed it
	byPerson  way = "person"  // it needs a password
)

// Times.
const (
	unmountTime  = 20 * time.Second // a server may be gone
	mountTime    = time.Minute
	afterRefusal = 10 * time.Minute
)

const (
	byUUID = "/dev/disk/by-uuid"
	booted = "/run/systemd/system" // sd_booted(3)
)

// newVolume finds out how a mount could come back.
func newVolume(x mount, should []entry) volume {
	v := volume{mount: x, Back: byOptions}
	if x.onDisk() {
		v.Link = linkOf(x.Source)
	}
	i := slices.IndexFunc(should, func(e entry) bool { return e.Target == x.Target && v.meantBy(e) })
	smb := x.Kind == "cifs" || x.Kind == "smb3"
	switch {
	case i >= 0 && smb && !has(should[i].Options, "credentials=", "cred=", "password=", "pass=", "guest", "sec=none", "sec=krb5", "sec=krb5i", "multiuser"):
		v.Back = byPerson // it is asked for when somebody mounts it
	case i >= 0:
		v.Back = byTable
	case x.onDisk() || x.Kind == "nfs" || x.Kind == "nfs4" || smb && (has(x.Super, "sec=none") || !has(x.Super, "username=")):
	default:
		v.Back = byPerson
	}
	return v
}

// meantBy says whether mounting a line of fstab would mount this.
func (v volume) meantBy(e entry) bool {
	if !v.onDisk() {
		return strings.TrimRight(e.Source, "/") == strings.TrimRight(v.Source, "/")
	}
	return !strings.HasPrefix(e.Source, "/") || real(e.Source) == real(v.Source) // else UUID=, LABEL=: mount looks for it
}

// linkOf is the name of a device that it keeps when it is plugged in again.
func linkOf(device string) string {
	all, err := os.ReadDir(byUUID)
	if err != nil {
		return ""
	}
	for _, f := range all {
		if link := filepath.Join(byUUID, f.Name()); real(link) == real(device) {
			return link
		}
	}
	return ""
}

// real follows links; what is not there is its own name.
func real(path string) string {
	if p, err := filepath.EvalSymlinks(path); err == nil {
		return p
	}
	return path
}

// device is where the volume is now.
func (v volume) device() string {
	if v.Link != "" {
		return real(v.Link)
	}
	return v.Source
}

// same says whether a mount shows the same volume.
func (v volume) same(x mount) bool {
	if !v.onDisk() {
		return x.Kind == v.Kind && x.Source == v.Source
	}
	return x.onDisk() && (real(x.Source) == real(v.device()) || v.Link == "" && x.Device == v.Device)
}

// away says whether its device was taken out.
func (v volume) away() bool {
	if !v.onDisk() {
		return false
	}
	_, err := os.Stat(v.device())
	return os.IsNotExist(err)
}

// there says whether something is mounted in its place.
func (v volume) there() (bool, error) {
	all, err := mounted()
	return slices.ContainsFunc(all, func(x mount) bool { return x.Target == v.Target && x.Kind != automount }), err
}

// again mounts it as it was. What programs held on to all the time is still
// read-only: it is mounted so, and then made what it was.
func (v volume) again(ctx context.Context) error {
	if err := os.MkdirAll(v.Target, 0o755); err != nil { // a desktop takes its own folders away
		return fmt.Errorf("mount %s: %w", v.Target, err)
	}
	args := func(more ...string) []string {
		if v.Back == byTable {
			return append(more, "--", v.Target)
		}
		if v.Kind != "fuseblk" { // its name is not that of a program
			more = append(more, "-t", v.Kind)
		}
		return append(more, "--", v.device(), v.Target)
	}
	options := ""
	if v.Back == byOptions {
		options = v.options()
	}
	by := v.program()
	err := run(ctx, mountTime, by[0], slices.Concat(by[1:], args(flag(options)...))...)
	if err == nil || !v.onDisk() || !has(v.Super, "rw") {
		return err
	}
	if run(ctx, mountTime, by[0], slices.Concat(by[1:], args(flag(strings.Trim(options+",ro", ","))...))...) != nil {
		return err
	}
	return run(ctx, mountTime, "mount", append(flag("remount,rw"), "--", v.Target)...)
}

// program is what mounts it. Where a program of FUSE serves the volume it must
// not be one of this service, which would end it with its own next restart.
func (v volume) program() []string {
	if _, err := os.Stat(booted); err != nil || !strings.HasPrefix(v.Kind, "fuse") {
		return []string{"mount"}
	}
	return []string{"systemd-run", "--scope", "--quiet", "--collect", "--", "mount"}
}

func flag(options string) []string {
	if options == "" {
		return nil
	}
	return []string{"-o", options}
}

// options are those that mount(8) takes, of those that the kernel shows.
func (v volume) options() string {
	var out []string
	for o := range strings.SplitSeq(v.Options+","+v.Super, ",") {
		name, _, _ := strings.Cut(o, "=")
		if o == "" || slices.Contains(out, o) || slices.Contains(kernelOnly, name) || v.Kind == "fuseblk" && slices.Contains(fuseOnly, name) {
			continue
		}
		out = append(out, o)
	}
	if has(v.Options, "ro") || has(v.Super, "ro") { // either makes it so
		out = slices.DeleteFunc(out, func(o string) bool { return o == "rw" })
	}
	if (v.Kind == "cifs" || v.Kind == "smb3") && !has(v.Super, "sec=none") {
		out = append(out, "guest")
	}
	return strings.Join(out, ",")
}

// kernelOnly is what kernels show, and mount(8) finds out by itself or refuses.
var kernelOnly = []string{"seclabel", "addr", "clientaddr", "mountaddr"}

// fuseOnly is what programs of FUSE tell the kernel, not what they are told.
var fuseOnly = []string{"user_id", "group_id", "blksize", "default_permissions", "allow_other"}

// unmount takes one mount away. What is in use is made read-only first, as far
// as nobody has it open to write, and then detached, so that no path leads to it.
func unmount(ctx context.Context, target string) error {
	if run(ctx, unmountTime, "umount", "--", target) == nil {
		return nil
	}
	if run(ctx, unmountTime, "mount", "-o", "remount,ro", "--", target) != nil {
		_ = run(ctx, unmountTime, "mount", "-o", "remount,bind,ro", "--", target) // else detaching is all that can be done
	}
	return run(ctx, unmountTime, "umount", "-l", "--", target)
}

// run starts a program that cannot ask anybody for a password.
func run(ctx context.Context, most time.Duration, name string, args ...string) error {
	ctx, stop := context.WithTimeout(ctx, most)
	defer stop()
	cmd := exec.CommandContext(ctx, name, args...)
	var said bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = "/", &said, &said, noTerminal()
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.WaitDelay = time.Second // what serves the mount may keep the pipe
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, args[len(args)-1], err, strings.TrimSpace(said.String()))
	}
	return nil
}

// denied says whether a server did not want to serve.
func denied(err error) bool {
	s := strings.ToLower(err.Error())
	return strings.Contains(s, "permission denied") || strings.Contains(s, "access denied") || strings.Contains(s, "error(13)")
}
