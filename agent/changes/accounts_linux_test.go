package changes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/agent/collect"
)

func TestAccountsAndPrivileges(t *testing.T) {
	root, d := t.TempDir(), deps(t)
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("etc/passwd", "root:x:0:0::/root:/bin/bash\ntanaka:x:1000:1000::/home/tanaka:/bin/bash\nbackup:x:34:34::/var/backups:/usr/sbin/nologin\nold:x:1001:1001::/home/old:/bin/sh\n")
	write("etc/shadow", "root:*:1::::::\ntanaka:$6$secrethash:1::::::\nbackup:!:1::::::\n")
	write("etc/group", "sudo:x:27:\nusers:x:100:tanaka\n")
	write("etc/sudoers", "root ALL=(ALL) ALL\n")
	write("home/tanaka/.ssh/authorized_keys", "ssh-ed25519 AAAA tanaka\n")
	q := collect.NewQueue(64)
	open := func() *Accounts { a := NewAccounts(d); a.root = root; return a }
	open().look(q)
	if got := said(q); len(got) != 1 || got[0] != "baseline" {
		t.Fatalf("first: %v", got)
	}
	if b, err := os.ReadFile(filepath.Join(d.Dir, accountsFile)); err != nil || strings.Contains(string(b), "secrethash") {
		t.Errorf("a password is stored: %v", err)
	}
	write("etc/passwd", "root:x:0:0::/root:/bin/bash\ntanaka:x:1000:1000::/home/tanaka:/bin/bash\nbackup:x:34:34::/var/backups:/bin/sh\nsys:x:0:0::/tmp:/bin/sh\n")
	write("etc/shadow", "root:*:1::::::\ntanaka:$6$other:1::::::\nbackup:$6$x:1::::::\n")
	write("etc/group", "sudo:x:27:tanaka\nusers:x:100:\n")
	write("etc/sudoers.d/x", "tanaka ALL=(ALL) NOPASSWD: ALL\n")
	write("home/tanaka/.ssh/authorized_keys", "# mine\nssh-ed25519 AAAA tanaka\nssh-ed25519 BBBB stranger\n")
	a := open()
	a.look(q)
	want := []string{"password-changed backup", "user-unlocked backup", "shell-changed backup /bin/sh", "user-removed old", "user-added sys /bin/sh", "uid-zero sys", "password-changed tanaka",
		"member-added tanaka sudo true", "member-removed tanaka users", "sudoers-changed /etc/sudoers.d/x", "key-added tanaka"}
	if diff := cmp.Diff(want, said(q)); diff != "" {
		t.Error(diff)
	}
	if a.look(q); len(q.Events()) != 0 {
		t.Errorf("told twice: %v", said(q))
	}
	if err := os.Remove(filepath.Join(root, "etc/passwd")); err != nil { // while it is written anew
		t.Fatal(err)
	}
	if a.look(q); len(q.Events()) != 0 {
		t.Errorf("everybody is gone: %v", said(q))
	}
}

func FuzzTables(f *testing.F) {
	f.Add("root:x:0:0::/root:/bin/bash\n", "root:!:1\n", "sudo:x:27:a,b\n")
	dir := f.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "etc"), 0o755); err != nil {
		f.Fatal(err)
	}
	a := &Accounts{root: dir, known: accounts{Secret: []byte("0123456789abcdef")}}
	f.Fuzz(func(t *testing.T, passwd, shadow, group string) {
		for name, text := range map[string]string{"passwd": passwd, "shadow": shadow, "group": group} {
			if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if n, ok := a.read(); ok && len(difference(n, n)) != 0 {
			t.Error("it differs from itself")
		}
	})
}
