// Package volume takes a file system away from the machine that uses it: a
// share of another machine, or a medium that can be taken out.
//
// In: orders that name where it is mounted. Out: it is mounted nowhere on this
// machine, and what somebody mounts again within the lease is taken away again.
// Always true: nothing that the machine or this program needs is taken away;
// no password is kept, so that what needs one is mounted again by a person.
//
// What is in use is made read-only first where the kernel allows it, then
// detached: no path leads to it any more, and the programs that still hold it
// are named in the result. The work is that of mount(8) and umount(8).
package volume

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/contain"
	"github.com/sonae/sonae/clock"
)

// Reasons for refusing an order: stable words.
const (
	badName   = "volume-name"
	noTable   = "mounts-unknown"
	elsewhere = "mounts-of-another-namespace"
	unknown   = "volume-not-mounted"
	fixed     = "volume-not-removable"
	needed    = "volume-is-needed"
	carries   = "volume-carries-others"
	part      = "volume-is-a-part"
	still     = "volume-still-mounted"
)

// Bounds.
const (
	maxName   = 4096 // PATH_MAX
	maxRounds = 8    // of unmounting what is mounted one over the other
)

// network are the file systems that other machines serve.
var network = []string{"cifs", "smb3", "nfs", "nfs4", "ceph", "glusterfs", "davfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.rclone", "fuse.davfs2", "fuse.s3fs", "fuse.curlftpfs"}

// vital are the folders without which the machine does not run, with all below.
var vital = []string{"/boot", "/usr", "/var", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sys", "/dev", "/run", "/tmp"}

// people are the folders where people, and desktops for them, mount media.
var people = []string{"/media", "/mnt", "/run/media"}

// automount stands at a target for what it mounts when somebody looks.
const automount = "autofs"

// Means takes volumes away.
type Means struct {
	Kept []string // folders and files of this program
	Now  clock.Now

	refused map[string]time.Time // action → when a server refused to serve it
}

// prior is a volume as it was, everywhere it was mounted, the newest last.
type prior struct {
	Boot   string   `json:"boot"` // numbers of devices hold until the next
	Mounts []volume `json:"mounts"`
}

// Kinds are those of taking away and of mounting again.
func (*Means) Kinds() (apply, undo order.Kind) { return order.Unmount, order.Mount }

// Subject is the place.
func (*Means) Subject(o order.Order) string { return filepath.Clean(o.Object) }

// place checks the name of a target.
func place(object string) (string, error) {
	if !strings.HasPrefix(object, "/") || len(object) > maxName || !utf8.ValidString(object) || strings.ContainsFunc(object, unicode.IsControl) {
		return "", fmt.Errorf("%s: %q", badName, object)
	}
	return filepath.Clean(object), nil
}

// Precheck refuses what is not mounted, and what must stay.
func (m *Means) Precheck(_ context.Context, o order.Order) (any, error) {
	target, err := place(o.Object)
	if err != nil {
		return nil, err
	}
	all, err := mounted()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", noTable, err)
	}
	if err := ofTheMachine(); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(x mount) bool { return x.Target == target && x.Kind != automount })
	if i < 0 {
		return nil, fmt.Errorf("%s: %s", unknown, target)
	}
	lines, err := readWhole(fstab)
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("%s: %w", noTable, err)
	}
	should := parseFstab(lines)
	p, top := prior{Boot: boot()}, newVolume(all[i], should)
	for _, x := range all {
		if x.Target != target && x.Device != top.Device && !top.same(x) || x.Kind == automount {
			continue
		}
		if err := m.mayGo(x, all); err != nil {
			return nil, err
		}
		p.Mounts = append(p.Mounts, newVolume(x, should))
	}
	return p, nil
}

// ofTheMachine refuses to work where only this program would see the change.
func ofTheMachine() error {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return fmt.Errorf("%s: %w", noTable, err)
	}
	first, err := os.Readlink("/proc/1/ns/mnt")
	if err != nil {
		return fmt.Errorf("%s: %w", noTable, err)
	}
	if own != first {
		return fmt.Errorf("%s: this program has mounts of its own (%s)", elsewhere, own)
	}
	return nil
}

// mayGo says why a mount must not be taken away.
func (m *Means) mayGo(x mount, all []mount) error {
	for _, dir := range vital {
		if inside(dir, x.Target) && !inside("/run/media", x.Target) {
			return fmt.Errorf("%s: %s", needed, x.Target)
		}
	}
	for _, k := range m.Kept {
		whole, err := filepath.Abs(k)
		if err != nil {
			return fmt.Errorf("%s: where %s lies is not known: %w", needed, k, err)
		}
		if inside(x.Target, real(whole)) { // the root has everything in it
			return fmt.Errorf("%s: %s lies in %s", needed, k, x.Target)
		}
	}
	if x.Target == "/" {
		return fmt.Errorf("%s: %s", needed, x.Target)
	}
	if !slices.Contains(network, x.Kind) && !x.medium() {
		return fmt.Errorf("%s: %s (%s)", fixed, x.Target, x.Kind)
	}
	if x.Root != "/" && x.Kind != "btrfs" && (x.onDisk() || !strings.HasSuffix(x.Source, x.Root)) { // mounting the whole again would show another thing
		return fmt.Errorf("%s: %s shows %s of %s", part, x.Target, x.Root, x.Source)
	}
	at := 0
	for _, y := range all {
		if y.Target == x.Target && y.Kind != automount {
			at++
		}
		if at > 1 || y.Target != x.Target && inside(x.Target, y.Target) {
			return fmt.Errorf("%s: %s on %s", carries, y.Source, y.Target)
		}
	}
	return nil
}

// onDisk says whether a block device of this machine holds it.
func (x mount) onDisk() bool { return strings.HasPrefix(x.Source, "/dev/") }

// medium says whether it can be taken out: the kernel says so of its disk, or it
// is mounted where people mount such things.
func (x mount) medium() bool {
	if !x.onDisk() {
		return false
	}
	if slices.ContainsFunc(people, func(dir string) bool { return inside(dir, x.Target) }) {
		return true
	}
	dir, err := filepath.EvalSymlinks("/sys/dev/block/" + x.Device)
	if err != nil {
		return false
	}
	for _, d := range []string{dir, filepath.Dir(dir)} { // a partition, then its disk
		if b, err := os.ReadFile(filepath.Join(d, "removable")); err == nil {
			return strings.Contains(dir, "/usb") || strings.TrimSpace(string(b)) == "1"
		}
	}
	return false
}

// found is where the volume is mounted now, the newest last. The place counts
// as well as the volume: a share has several names.
func (p prior) found(all []mount) (out []mount) {
	for _, x := range all {
		if x.Kind != automount && slices.ContainsFunc(p.Mounts, func(v volume) bool { return x.Target == v.Target || v.same(x) }) {
			out = append(out, x)
		}
	}
	return out
}

// look reads the prior state and where the volume is mounted now.
func look(r contain.Row) (p prior, all, found []mount, err error) {
	if err = json.Unmarshal(r.Prior, &p); err != nil {
		return p, nil, nil, err
	}
	all, err = mounted()
	return p, all, p.found(all), err
}

// Apply unmounts it until it is mounted nowhere.
func (m *Means) Apply(ctx context.Context, r contain.Row, _ time.Duration) error {
	var failed error
	for range maxRounds {
		_, all, found, err := look(r)
		if err != nil || len(found) == 0 {
			return err
		}
		for _, x := range slices.Backward(found) {
			if err := m.mayGo(x, all); err != nil && !strings.HasPrefix(err.Error(), carries) {
				return err // it was mounted there since
			}
			failed = unmount(ctx, x.Target)
		}
	}
	return fmt.Errorf("%s: %s: %w", still, r.Order.Object, failed)
}

// Verify looks whether it is mounted, and who has it all the same.
func (m *Means) Verify(ctx context.Context, r contain.Row) []order.Check {
	gone, unused := m.check("volume-gone", r), m.check("volume-unused", r)
	p, all, found, err := look(r)
	if err != nil {
		gone.Detail, unused.Detail = err.Error(), err.Error()
		return []order.Check{gone, unused}
	}
	gone.OK = len(found) == 0
	for _, x := range found {
		gone.Detail = "mounted on " + x.Target
	}
	for _, x := range all {
		if gone.OK && x.Kind == automount && slices.ContainsFunc(p.Mounts, func(v volume) bool { return v.Target == x.Target }) {
			gone.Detail = "mounted by an automounter when somebody looks"
		}
	}
	unused.OK, unused.Detail = holders(ctx, p.devices(all))
	return []order.Check{gone, unused}
}

// devices are those that can only be the volume. The kernel gives the number of
// a file system without a disk to another one when it is free.
func (p prior) devices(all []mount) (out []string) {
	if p.Boot != boot() {
		return nil
	}
	for _, v := range p.Mounts {
		if !slices.ContainsFunc(all, func(x mount) bool { return x.Device == v.Device && !v.same(x) }) && !slices.Contains(out, v.Device) {
			out = append(out, v.Device)
		}
	}
	return out
}

// State looks whether somebody mounted it.
func (m *Means) State(_ context.Context, r contain.Row) (contain.State, error) {
	_, _, found, err := look(r)
	if err == nil && len(found) > 0 {
		return contain.Lost, nil
	}
	return contain.Holds, err
}

// Undo mounts it again wherever it was.
func (m *Means) Undo(ctx context.Context, r contain.Row) error {
	p, _, _, err := look(r)
	if err != nil {
		return err
	}
	for _, v := range p.Mounts {
		if there, err := v.there(); err != nil {
			return err
		} else if there || v.Back == byPerson || v.away() {
			continue
		}
		if wait := m.refused[r.Order.Action].Add(afterRefusal).Sub(m.Now()); wait > 0 && wait <= afterRefusal {
			return fmt.Errorf("mount %s: the server refused; it is asked again in %s", v.Target, wait.Round(time.Second))
		}
		if err := v.again(ctx); err != nil {
			if denied(err) { // asking on and on would lock the account at the server
				m.refuse(r.Order.Action)
			}
			return err
		}
	}
	return nil
}

// refuse remembers that a server did not serve, for as long as that matters.
func (m *Means) refuse(action string) {
	if m.refused == nil {
		m.refused = map[string]time.Time{}
	}
	maps.DeleteFunc(m.refused, func(_ string, at time.Time) bool { return m.Now().Sub(at) > afterRefusal })
	m.refused[action] = m.Now()
}

// Undone looks whether it is mounted wherever it was.
func (m *Means) Undone(_ context.Context, r contain.Row) []order.Check {
	p, _, _, err := look(r)
	if err != nil {
		c := m.check("volume-back", r)
		c.Detail = err.Error()
		return []order.Check{c}
	}
	var out []order.Check
	for _, v := range p.Mounts {
		c := m.check("volume-back", r)
		c.Target = v.Target
		there, err := v.there()
		switch {
		case err != nil:
			c.Detail = err.Error()
		case there:
			c.OK = true
		case v.away():
			c.OK, c.Detail = true, "the device is not there"
		case v.Back == byPerson:
			c.Name, c.OK, c.Detail = "volume-by-hand", true, "mounted with a password"
		default:
			c.Detail = "not mounted"
		}
		out = append(out, c)
	}
	return out
}

func (m *Means) check(name string, r contain.Row) order.Check {
	return order.Check{Name: name, Target: r.Order.Object, At: m.Now().UTC()}
}

// boot names the time since the machine was started.
func boot() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
