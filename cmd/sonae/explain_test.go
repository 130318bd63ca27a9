package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonae/sonae/hub/hubtest"
)

// TestWrongInputSaysWhatToDo runs the program with what people get wrong: the
// exit status and a hint in each language must fit.
func TestWrongInputSaysWhatToDo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	used := hubtest.Start(t)
	page := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(page, []byte("<p>"), 0o600); err != nil {
		t.Fatal(err)
	}
	anyPort := []string{"--listen", "127.0.0.1:0", "--agents", "127.0.0.1:0", "--local", ""}
	for name, tt := range map[string]struct {
		args   []string
		status int
		want   []string
	}{
		"no such command":   {[]string{"srve"}, 2, []string{`"srve"`}},
		"help":              {[]string{"verify", "--help"}, 0, []string{"usage: sonae verify"}},
		"unknown flag":      {[]string{"serve", "--nonsense"}, 2, []string{"nonsense"}},
		"port in use":       {[]string{"serve", "--dir", hubtest.Folder(t), "--agents", l.Addr().String()}, 1, []string{"--agents", "別のポート"}},
		"a second hub":      {append([]string{"serve", "--dir", used.Dir}, anyPort...), 1, []string{"serve: Another running hub uses this folder: " + used.Dir, "別のハブ"}},
		"open to all":       {[]string{"serve", "--dir", hubtest.Folder(t), "--local", "0.0.0.0:0"}, 1, []string{"without encryption", "暗号化しない接続"}},
		"no such file":      {[]string{"verify", page + "x"}, 2, []string{"Check the path", "パスを"}},
		"no key":            {[]string{"verify", page}, 2, []string{"--key", "公開鍵"}},
		"a mistyped key":    {[]string{"verify", "--key", "sonae+00000000+AAAA", page}, 2, []string{"copy it whole", "全部を"}},
		"nothing to verify": {[]string{"verify", t.TempDir()}, 2, []string{"not an evidence bag"}},
		"no hub to drill":   {[]string{"drill", "run", "--dir", t.TempDir(), "torrent-callcentre"}, 1, []string{"no hub answers"}},
		"flag after name":   {[]string{"drill", "run", "torrent-callcentre", "--dir", "x"}, 2, []string{"after the flags"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if status := run(tt.args, &out, &errs); status != tt.status {
				t.Errorf("exit %d, want %d", status, tt.status)
			}
			for _, key := range []string{"hub.folder-in-use", "config.local", "conflict:"} {
				if strings.Contains(errs.String(), key) {
					t.Errorf("the key %q in:\n%s", key, &errs)
				}
			}
			for _, w := range tt.want {
				if !strings.Contains(errs.String(), w) {
					t.Errorf("no %q in:\n%s%s", w, &out, &errs)
				}
			}
		})
	}
}
