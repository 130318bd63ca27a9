package changes

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/event"
)

// Accounts tells of changes of accounts and privileges. It implements
// collect.Collector.
type Accounts struct {
	deps  Deps
	root  string // "/"
	known accounts
	first bool
}

// accounts is what is known. Passwords and keys are sums with a secret of this
// machine, so that nobody can try them out.
type accounts struct {
	Secret  []byte             `json:"secret"`
	Users   map[string]account `json:"users"`
	Members map[string]bool    `json:"members"` // "group user"
	Sudo    map[string]string  `json:"sudo"`    // file → sum
	Keys    map[string]bool    `json:"keys"`    // "user sum"
}

type account struct {
	UID      string `json:"uid"`
	GID      string `json:"gid"`
	Home     string `json:"home"`
	Shell    string `json:"shell"`
	Password string `json:"password"` // sum
	Locked   bool   `json:"locked"`
}

// Bounds and times.
const (
	accountsFile  = "accounts.json"
	accountsEvery = 10 * time.Second
	maxTable      = 8 << 20 // bytes of one file
	maxUsers      = 50_000
)

// privileged are groups whose members become root or read everything.
var privileged = map[string]bool{"root": true, "sudo": true, "wheel": true, "admin": true, "adm": true, "shadow": true, "disk": true, "docker": true, "lxd": true, "incus-admin": true, "libvirt": true, "kvm": true}

// NewAccounts makes the collector.
func NewAccounts(d Deps) *Accounts {
	a := &Accounts{deps: d, root: "/"}
	if a.first = !d.load(accountsFile, &a.known) || len(a.known.Secret) < 16; a.first {
		a.known.Secret = make([]byte, 32)
		_, _ = rand.Read(a.known.Secret) // never fails
	}
	return a
}

// Name implements collect.Collector.
func (a *Accounts) Name() string { return "accounts" }

// Status implements collect.Collector.
func (a *Accounts) Status() string { return "passwd, group, shadow, sudoers and authorized_keys" }

// Run implements collect.Collector.
func (a *Accounts) Run(ctx context.Context, q *collect.Queue) error {
	every(ctx, accountsEvery, func() { a.look(q) })
	return nil
}

// look compares what is there with what is known.
func (a *Accounts) look(q *collect.Queue) {
	now, ok := a.read()
	if !ok { // half written, or not to be read: another time
		return
	}
	if a.first {
		q.Put(event.Event{Time: a.deps.Now().UTC(), Kind: event.KindHealth, Product: "sonae", Service: "accounts",
			Fields: map[string]string{"Event": "baseline", "Users": strconv.Itoa(len(now.Users))}})
	} else {
		for _, f := range difference(a.known, now) {
			q.Put(a.deps.told("account_change", "accounts", f))
		}
	}
	if a.first || !same(a.known, now) {
		a.deps.save(accountsFile, now)
	}
	a.known, a.first = now, false
}

func same(a, b accounts) bool {
	return maps.Equal(a.Users, b.Users) && maps.Equal(a.Members, b.Members) && maps.Equal(a.Sudo, b.Sudo) && maps.Equal(a.Keys, b.Keys)
}

// difference lists what changed, as fields of events, in a fixed order.
func difference(old, now accounts) []map[string]string {
	var out []map[string]string
	add := func(change, user string, more ...string) {
		f := map[string]string{"Change": change}
		if user != "" {
			f["TargetUser"] = user
		}
		for i := 0; i+1 < len(more); i += 2 {
			f[more[i]] = more[i+1]
		}
		out = append(out, f)
	}
	for _, name := range union(old.Users, now.Users) {
		before, was := old.Users[name]
		after, is := now.Users[name]
		switch {
		case !was:
			add("user-added", name, "Uid", after.UID, "Shell", after.Shell)
		case !is:
			add("user-removed", name, "Uid", before.UID)
		}
		if is && after.UID == "0" && before.UID != "0" {
			add("uid-zero", name)
		}
		if was && is {
			changed(add, name, before, after)
		}
	}
	for _, m := range union(old.Members, now.Members) {
		group, user, _ := strings.Cut(m, " ")
		more := []string{"Group", group}
		if privileged[group] {
			more = append(more, "Privileged", "true")
		}
		if !old.Members[m] {
			add("member-added", user, more...)
		} else if !now.Members[m] {
			add("member-removed", user, more...)
		}
	}
	for _, file := range union(old.Sudo, now.Sudo) {
		if old.Sudo[file] != now.Sudo[file] {
			add("sudoers-changed", "", "TargetFilename", file)
		}
	}
	for _, k := range union(old.Keys, now.Keys) {
		if user, _, _ := strings.Cut(k, " "); !old.Keys[k] {
			add("key-added", user)
		} else if !now.Keys[k] {
			add("key-removed", user)
		}
	}
	return out
}

func changed(add func(change, user string, more ...string), name string, before, after account) {
	if before.Password != after.Password {
		add("password-changed", name)
	}
	if before.Locked && !after.Locked {
		add("user-unlocked", name)
	}
	if before.Shell != after.Shell {
		add("shell-changed", name, "Shell", after.Shell, "OldShell", before.Shell)
	}
	if before.GID != after.GID {
		add("group-changed", name, "Gid", after.GID)
	}
}

func union[V any](a, b map[string]V) []string {
	all := map[string]bool{}
	for k := range a {
		all[k] = true
	}
	for k := range b {
		all[k] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// read reads the files; false when the table of users cannot be.
func (a *Accounts) read() (accounts, bool) {
	n := accounts{Secret: a.known.Secret, Users: map[string]account{}, Members: map[string]bool{}, Sudo: map[string]string{}, Keys: map[string]bool{}}
	for _, f := range a.table("etc/passwd", 7) {
		if len(n.Users) < maxUsers {
			n.Users[f[0]] = account{UID: f[2], GID: f[3], Home: f[5], Shell: f[6]}
		}
	}
	if len(n.Users) == 0 {
		return n, false
	}
	for _, f := range a.table("etc/shadow", 2) {
		if u, ok := n.Users[f[0]]; ok {
			u.Locked = strings.HasPrefix(f[1], "!") || strings.HasPrefix(f[1], "*")
			u.Password = a.sum([]byte(strings.TrimLeft(f[1], "!")))
			n.Users[f[0]] = u
		}
	}
	for _, f := range a.table("etc/group", 4) {
		for user := range strings.SplitSeq(f[3], ",") {
			if user != "" && len(n.Members) < maxUsers {
				n.Members[f[0]+" "+user] = true
			}
		}
	}
	a.sudo(n)
	a.keys(n)
	return n, true
}

// table reads lines of fields between colons (passwd(5)).
func (a *Accounts) table(name string, fields int) [][]string {
	var out [][]string
	for line := range strings.Lines(string(a.file(name))) {
		f := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(f) >= fields && f[0] != "" && !strings.HasPrefix(f[0], "#") && !strings.ContainsAny(f[0], " \t") {
			out = append(out, f)
		}
	}
	return out
}

func (a *Accounts) file(name string) []byte {
	f, err := os.OpenFile(filepath.Join(a.root, name), os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe in somebody's home must not make us wait
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(f, maxTable))
	if err != nil {
		return nil
	}
	return b
}

func (a *Accounts) sum(b []byte) string {
	h := hmac.New(sha256.New, a.known.Secret)
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (a *Accounts) sudo(n accounts) {
	names := []string{"etc/sudoers"}
	if found, err := filepath.Glob(filepath.Join(a.root, "etc/sudoers.d/*")); err == nil {
		for _, f := range found {
			if rel, err := filepath.Rel(a.root, f); err == nil && len(names) < 1000 {
				names = append(names, rel)
			}
		}
	}
	for _, name := range names {
		if b := a.file(name); b != nil {
			n.Sudo["/"+name] = a.sum(b)
		}
	}
}

// keys reads the keys that let somebody log in by SSH.
func (a *Accounts) keys(n accounts) {
	for name, u := range n.Users {
		for _, file := range []string{"authorized_keys", "authorized_keys2"} {
			for line := range bytes.Lines(a.file(filepath.Join(u.Home, ".ssh", file))) {
				if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' && len(n.Keys) < maxUsers {
					n.Keys[name+" "+a.sum(line)] = true
				}
			}
		}
	}
}
