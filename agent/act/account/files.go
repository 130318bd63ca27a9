package account

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// user is a line of passwd(5) with that of shadow(5).
type user struct {
	name, home, shell string
	uid, gid          int
	password, expire  string
}

// accounts are all of a machine.
type accounts struct {
	users  map[string]user
	admins map[string]bool // members of the groups that may become root
}

// adminGroups may become root on Debian, on Red Hat, and on older Ubuntu.
var adminGroups = []string{"sudo", "wheel", "admin"}

func read() (accounts, error) {
	all := accounts{users: map[string]user{}, admins: map[string]bool{}}
	lines, err := fields("/etc/passwd", 7)
	if err != nil {
		return all, err
	}
	for _, f := range lines {
		u := user{name: f[0], home: f[5], shell: f[6]}
		var bad error
		if u.uid, bad = strconv.Atoi(f[2]); bad != nil {
			continue
		}
		if u.gid, bad = strconv.Atoi(f[3]); bad != nil {
			continue
		}
		all.users[u.name] = u
	}
	if lines, err = fields("/etc/shadow", 9); err != nil {
		return all, err
	}
	for _, f := range lines {
		if u, ok := all.users[f[0]]; ok {
			u.password, u.expire = f[1], f[7]
			all.users[u.name] = u
		}
	}
	if lines, err = fields("/etc/group", 4); err != nil {
		return all, err
	}
	for _, f := range lines {
		if slices.Contains(adminGroups, f[0]) {
			all.add(f[2], f[3])
		}
	}
	return all, nil
}

// add takes up the members of a group of administrators.
func (all *accounts) add(gid, members string) {
	for name := range strings.SplitSeq(members, ",") {
		all.admins[name] = true
	}
	for _, u := range all.users {
		if strconv.Itoa(u.gid) == gid {
			all.admins[u.name] = true
		}
	}
}

func fields(path string, n int) ([][]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read accounts: %w", err)
	}
	var out [][]string
	for line := range bytes.Lines(b) {
		if f := strings.Split(strings.TrimRight(string(line), "\n"), ":"); len(f) >= n && f[0] != "" {
			out = append(out, f)
		}
	}
	return out, nil
}

// lastAdmin says whether nobody could administer the machine without name.
func (all accounts) lastAdmin(name string, now time.Time) bool {
	if !all.admins[name] {
		return false
	}
	for _, u := range all.users {
		if u.name != name && (all.admins[u.name] || u.uid == 0) && u.opens(now) {
			return false
		}
	}
	return true
}

// opens says whether somebody can log in with the account: with a password or
// with a key, and neither expired nor without a shell.
func (u user) opens(now time.Time) bool {
	if strings.HasSuffix(u.shell, "/nologin") || strings.HasSuffix(u.shell, "/false") {
		return false
	}
	if day, err := strconv.ParseInt(u.expire, 10, 64); err == nil && day*24*3600 <= now.Unix() {
		return false
	}
	password := u.password != "" && !strings.HasPrefix(u.password, "!") && !strings.HasPrefix(u.password, "*")
	return password || len(keys(u.home)) > 0
}

// key is a file of keys that let its owner in.
type key struct {
	Path string `json:"path"` // below the home directory
	Hash string `json:"hash"` // hex SHA-256
}

// Where sshd looks by default, and what it does not look at.
var keyFiles = []string{".ssh/authorized_keys", ".ssh/authorized_keys2"}

const (
	aside  = ".sonae-aside"
	maxKey = 16 << 20
)

// places are where keys may be. A folder that is a link, to wherever, is one.
func places(root *os.Root) []string {
	if info, err := root.Lstat(".ssh"); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return []string{".ssh"}
	}
	return keyFiles
}

// keys lists the key files of a home. The home is its owner's, who may have put
// links there: nothing outside of it is followed.
func keys(home string) []key {
	root, err := os.OpenRoot(home)
	if err != nil {
		return nil
	}
	defer func() { _ = root.Close() }()
	var out []key
	for _, path := range places(root) {
		if _, err := root.Lstat(path); err == nil {
			out = append(out, key{Path: path, Hash: hash(root, path)})
		}
	}
	return out
}

// hash is that of a plain file, "" for anything else.
func hash(root *os.Root, path string) string {
	info, err := root.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	f, err := root.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, maxKey)); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// putAside renames all key files, those that came since the look as well.
func putAside(p prior) error {
	root, err := os.OpenRoot(p.Home)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("put keys aside: %w", err)
	}
	defer func() { _ = root.Close() }()
	for _, path := range places(root) {
		to := path + aside
		if _, err := root.Lstat(to); err == nil { // those are the owner's; what came since is not
			to += "-new"
		}
		if err := root.Rename(path, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("put keys aside: %w", err)
		}
	}
	return nil
}

// takeBack renames those that were there before, and are as they were.
func takeBack(p prior) error {
	root, err := os.OpenRoot(p.Home)
	if err != nil {
		return nil //nolint:nilerr // no home, no keys
	}
	defer func() { _ = root.Close() }()
	for _, k := range p.Keys {
		_, there := root.Lstat(k.Path)
		if there == nil || hash(root, k.Path+aside) != k.Hash {
			continue
		}
		if err := root.Rename(k.Path+aside, k.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("take keys back: %w", err)
		}
	}
	return nil
}

// changed is how many key files are not back as they were.
func changed(p prior) int {
	now, n := keys(p.Home), 0
	for _, k := range p.Keys {
		if !slices.Contains(now, k) {
			n++
		}
	}
	return n
}
