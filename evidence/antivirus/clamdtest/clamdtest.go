// Package clamdtest starts a real clamd with a signature database of its own.
//
// In: a test. Out: the address of its socket. Always true: it reads no
// configuration and no signatures of the machine, asks nobody for updates, and
// ends with the test.
package clamdtest

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sonae/sonae/evidence/antivirus"
)

// Marker is what the database takes for a virus; Signature is its name, as
// clamd says it.
const (
	Marker    = "sonae-test-marker-8b1f27c4-not-a-virus"
	Signature = "Sonae.Test.Marker.UNOFFICIAL"
)

// MaxStream is how many bytes clamd takes for one file.
const MaxStream = 4 << 20

// ready bounds how long clamd may need to start on a crowded machine.
const ready = 60 * time.Second

// Clamd is one that runs or can be started again.
type Clamd struct {
	Address string
	t       testing.TB
	dir     string
	cmd     *exec.Cmd
}

// Start starts clamd, or skips the test where there is none.
func Start(t testing.TB) *Clamd {
	t.Helper()
	dir, err := os.MkdirTemp("", "clamd") // short: a socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := &Clamd{Address: "unix:" + filepath.Join(dir, "s"), t: t, dir: dir}
	conf := fmt.Sprintf("LocalSocket %s\nDatabaseDirectory %s\nForeground yes\nUser root\nStreamMaxLength %d\nTemporaryDirectory %s\n", filepath.Join(dir, "s"), filepath.Join(dir, "db"), MaxStream, dir)
	if os.Getuid() != 0 {
		conf = fmt.Sprintf("LocalSocket %s\nDatabaseDirectory %s\nForeground yes\nStreamMaxLength %d\nTemporaryDirectory %s\n", filepath.Join(dir, "s"), filepath.Join(dir, "db"), MaxStream, dir)
	}
	err = os.Mkdir(filepath.Join(dir, "db"), 0o755)
	for name, text := range map[string]string{"conf": conf, "db/sonae.ndb": "Sonae.Test.Marker:0:*:" + hex.EncodeToString([]byte(Marker)) + "\n"} {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	c.Start()
	return c
}

// Start starts it again after Stop, and waits until it answers.
func (c *Clamd) Start() {
	c.t.Helper()
	path, err := exec.LookPath("clamd")
	if err != nil {
		c.t.Skip("no clamd (Debian package clamav-daemon)")
	}
	c.cmd = exec.Command(path, "--config-file="+filepath.Join(c.dir, "conf"))
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	client, err := antivirus.New(c.Address)
	if err != nil {
		c.t.Fatal(err)
	}
	for end := time.Now().Add(ready); ; time.Sleep(50 * time.Millisecond) {
		if _, err = client.Version(context.Background()); err == nil {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("clamd does not answer: %v", err)
		}
	}
}

// Stop ends it; stopping twice changes nothing.
func (c *Clamd) Stop() {
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
	c.cmd = nil
	_ = os.Remove(filepath.Join(c.dir, "s"))
}
