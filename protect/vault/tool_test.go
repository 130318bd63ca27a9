package vault

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// TestAToolIsReadApprovedAndHandedOut brings the real restic of this machine. What
// is said of it was read from it, a second person approves it, and machines get
// these bytes until it is taken back.
func TestAToolIsReadApprovedAndHandedOut(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	body, err := os.ReadFile(restictest.Newest(t).Path)
	if err != nil {
		body, err = os.ReadFile("/usr/bin/restic")
	}
	w.ok(err)
	self, err := os.ReadFile("/proc/self/exe")
	w.ok(err)
	for name, tt := range map[string]struct {
		body    []byte
		version string
		key     string
	}{
		"nothing":               {nil, "0.18.0", "vault.tool-unknown"},
		"a text":                {[]byte("#!/bin/sh\nexec restic"), "0.18.0", "vault.tool-unknown"},
		"another program in Go": {self, "0.18.0", "vault.tool-unknown"},
		"cut off":               {body[:len(body)/3], "0.18.0", "vault.tool-unknown"},
		"no version":            {body, "", "vault.tool-version"},
		"an old version":        {body, "0.16.4", "vault.tool-version"},
		"nonsense":              {body, "0.18.0; rm", "vault.tool-version"},
	} {
		if _, err := w.AddTool(ctx, "restic", tt.version, "Debian", tt.body, anna); fault.Of(err) != fault.Invalid || keyOf(err) != tt.key {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = w.AddTool(ctx, "restic", "0.18.0", " ", body, anna)
	w.is(err, fault.Invalid, "vault.reason")
	x, err := w.AddTool(ctx, "restic", "0.18.0", "Debian 13 から。署名を確かめた", body, anna)
	w.ok(err)
	if x.OS != runtime.GOOS || x.Arch != runtime.GOARCH || x.Version != "0.18.0" || !x.Said || !strings.HasPrefix(x.Go, "go1.") || x.Size != int64(len(body)) {
		t.Errorf("%+v", x)
	}
	_, err = w.AddTool(ctx, "restic", "0.18.0", "Debian", body, ben)
	w.is(err, fault.Conflict, "vault.tool-there")
	handed := func(n int) {
		t.Helper()
		all, err := w.Handed(ctx)
		if err != nil || len(all) != n {
			t.Errorf("%+v %v", all, err)
		}
		_, _, err = w.OpenTool(ctx, "ho-1", x.SHA256)
		if (err == nil) != (n > 0) {
			t.Errorf("opened: %v", err)
		}
	}
	handed(0)
	w.is(w.ApproveTool(ctx, x.ID, anna), fault.Denied, "vault.own")
	w.ok(w.ApproveTool(ctx, x.ID, ben))
	handed(1)
	r, size, err := w.OpenTool(ctx, "ho-1", x.SHA256)
	w.ok(err)
	got, err := io.ReadAll(r)
	w.ok(err)
	w.ok(r.Close())
	if !bytes.Equal(got, body) || size != int64(len(body)) {
		t.Errorf("%d bytes instead of %d", len(got), len(body))
	}
	_, _, err = w.OpenTool(ctx, "ho-3", x.SHA256)
	w.is(err, fault.Denied, "asset.host-untrusted")
	w.ok(w.StopTool(ctx, x.ID, "欠陥が見つかった", anna))
	handed(0)
	w.is(w.StopTool(ctx, x.ID, "もう一度", anna), fault.Conflict, "vault.not-waiting")
	for _, m := range emitted[json.RawMessage](w, "protect.vault") {
		if len(m) > 4<<10 {
			t.Errorf("a message has %d bytes", len(m))
		}
	}
	w.recorded()
}

// FuzzTool reads programs that nobody made.
func FuzzTool(f *testing.F) {
	f.Add([]byte("\x7fELF"), "0.18.0")
	f.Add([]byte("MZ"), "")
	if self, err := os.ReadFile("/proc/self/exe"); err == nil {
		if _, err := buildinfo.Read(bytes.NewReader(self)); err == nil {
			f.Add(self[:min(len(self), 64<<10)], "v0.17.3")
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, number string) {
		tool, err := readTool(body, number)
		if err == nil && (tool.OS == "" || tool.Arch == "" || tool.Size != int64(len(body)) || len(tool.SHA256) != 64) {
			t.Errorf("%+v", tool)
		}
		if err != nil && fault.Of(err) != fault.Invalid {
			t.Error(err)
		}
	})
}
