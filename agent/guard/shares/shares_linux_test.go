package shares

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hirochachacha/go-smb2"

	"github.com/sonae/sonae/agent/samba"
	"github.com/sonae/sonae/agent/samba/sambatest"
)

// lab is a real Samba with a guard, and clients that are told apart by their
// address on loopback.
type lab struct {
	t     *testing.T
	samba *sambatest.Samba
	port  int
	guard *Guard
	found chan Found
}

func newLab(t *testing.T, fill func(dir string)) *lab {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, port: free.Addr().(*net.TCPAddr).Port, found: make(chan Found, 64)}
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	l.samba = sambatest.Start(t, sambatest.Config{Address: "127.0.0.1", Port: l.port, Shares: []string{"data"},
		Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", l.port))
		}})
	fill(l.samba.Share("data"))
	end := samba.End
	server := samba.Server{Conf: l.samba.Conf}
	l.guard, err = New(Config{Audit: l.samba.Audit, End: end, OnFound: func(f Found) { l.found <- f },
		Where: func(ctx context.Context) ([]string, error) {
			all, err := server.Shares(ctx)
			if err != nil || len(all) == 0 {
				return nil, fmt.Errorf("no shares: %w", err)
			}
			return []string{all[0].Path}, nil
		}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := l.guard.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); done.Wait() })
	l.await("the guard reads", func() bool {
		c := l.client("127.0.0.9")
		defer c.close()
		_, err := c.share.Stat("nothing")
		return os.IsNotExist(err) && c.write("hello.txt", []byte("good morning")) == nil && l.guard.Status().Seen > 0
	})
	return l
}

func (l *lab) await(what string, so func() bool) {
	l.t.Helper()
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("not in time: %s", what)
		}
	}
}

type client struct {
	conn  net.Conn
	share *smb2.Share
}

func (l *lab) client(from string) *client {
	l.t.Helper()
	c, err := l.connect(from)
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

func (l *lab) connect(from string) (*client, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	conn, err := d.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", l.port))
	if err != nil {
		return nil, err
	}
	s, err := (&smb2.Dialer{Initiator: &smb2.NTLMInitiator{User: sambatest.User, Password: sambatest.Password}}).Dial(conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	share, err := s.Mount("data")
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &client{conn, share}, nil
}

func (c *client) close() { _ = c.conn.Close() }

func (c *client) write(name string, b []byte) error { return c.share.WriteFile(name, b, 0o644) }

const (
	folders = 20
	each    = 50
	sizeOf  = 12 << 10
)

// fill makes 1,000 files of a ward: what their names say.
func fill(t *testing.T) func(dir string) {
	return func(dir string) {
		for i := range folders {
			folder := filepath.Join(dir, fmt.Sprintf("ward-%02d", i))
			for _, err := range []error{os.MkdirAll(folder, 0o777), os.Chmod(folder, 0o777)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			for j := range each {
				name, body := document(i*each + j)
				path := filepath.Join(folder, name)
				if err := os.WriteFile(path, body, 0o666); err != nil {
					t.Fatal(err)
				}
				old := time.Now().Add(-time.Hour)
				if err := errorsOf(os.Chmod(path, 0o666), os.Chtimes(path, old, old)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func errorsOf(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

func document(n int) (name string, body []byte) {
	text := bytes.Repeat([]byte(fmt.Sprintf("%05d,2026-04-01,patient,ward,remark of the day\n", n)), sizeOf/48)
	switch n % 5 {
	case 0:
		return fmt.Sprintf("note-%04d.txt", n), text
	case 1:
		return fmt.Sprintf("list-%04d.csv", n), text
	case 2:
		return fmt.Sprintf("photo-%04d.jpg", n), append([]byte("\xff\xd8\xff\xe0"), noise(sizeOf)...)
	case 3:
		return fmt.Sprintf("letter-%04d.pdf", n), append([]byte("%PDF-1.7\n"), noise(sizeOf)...)
	}
	return fmt.Sprintf("report-%04d.docx", n), append([]byte("PK\x03\x04"), noise(sizeOf)...)
}

func noise(n int) []byte {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		panic(err)
	}
	return b
}

// encrypt does to one file what ransomware does.
var encrypt = map[string]func(c *client, path string) error{
	"in place": func(c *client, path string) error { return inPlace(c, path) },
	"renamed": func(c *client, path string) error {
		if err := inPlace(c, path); err != nil {
			return err
		}
		return c.share.Rename(path, path+".locked")
	},
	"copied, then deleted": func(c *client, path string) error {
		b, err := c.share.ReadFile(path)
		if err == nil {
			err = c.write(path+".enc", noise(len(b)))
		}
		if err == nil {
			err = c.share.Remove(path)
		}
		return err
	},
}

func inPlace(c *client, path string) error {
	f, err := c.share.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(f)
	if err == nil {
		_, err = f.WriteAt(noise(len(b)), 0)
	}
	return errorsOf(err, f.Close())
}

// lost counts the files that do not hold what they held.
func lost(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	for i := range folders * each {
		name, body := document(i)
		b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("ward-%02d", i/each), name))
		if err != nil || len(b) != len(body) || !bytes.Equal(b[:4], body[:4]) {
			n++
		}
	}
	return n
}

// most is how many of 1,000 files may be lost to a client at full pace.
const most = 20

func TestAClientThatEncryptsIsStopped(t *testing.T) {
	for name, do := range encrypt {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, fill(t))
			dir := l.samba.Share("data")
			other := l.client("127.0.0.7")
			working, stop := context.WithCancel(t.Context())
			var work sync.WaitGroup
			var done atomic.Int64
			work.Go(func() {
				for working.Err() == nil {
					body := []byte(strings.Repeat("the work of every day\n", 200))
					err := other.write(fmt.Sprintf("work-%d.txt", done.Load()%20), body)
					if err == nil {
						_, err = other.share.ReadFile(fmt.Sprintf("work-%d.txt", done.Load()%20))
					}
					if err != nil {
						t.Errorf("another client was disturbed after %d files: %v", done.Load(), err)
						return
					}
					done.Add(1)
				}
			})
			bad := l.client("127.0.0.5")
			began, files := time.Now(), 0
			for i := range folders * each {
				file, _ := document(i)
				if do(bad, fmt.Sprintf(`ward-%02d\%s`, i/each, file)) != nil {
					break
				}
				files++
			}
			took := time.Since(began)
			gone := lost(t, dir)
			before := done.Load()
			l.await("the other goes on", func() bool { return done.Load() > before+5 || t.Failed() })
			stop()
			work.Wait()
			t.Logf("%s: %d of %d files lost at %.0f files/s, %d written by another client", name, gone, folders*each, float64(files)/took.Seconds(), done.Load())
			if gone > most || gone == 0 {
				t.Errorf("%d files lost", gone)
			}
			select {
			case f := <-l.found:
				if f.Client != netip.MustParseAddr("127.0.0.5") || f.User != sambatest.User || !f.Ended || f.Lost < limit || len(f.Reasons) == 0 || f.Shares[0] != "data" {
					t.Errorf("found %+v", f)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("nothing found")
			}
			if len(l.found) > 0 {
				t.Errorf("found more: %+v", <-l.found)
			}
		})
	}
}

// A client that works through several connections at once is one client, and
// each time that it comes back it gets no further than its first files. (Here
// nothing keeps it out: on a machine of its own the agent does that, too.)
func TestAClientWithManyConnectionsComesBack(t *testing.T) {
	const connections, returns = 4, 5
	l := newLab(t, fill(t))
	var attack sync.WaitGroup
	var next, came atomic.Int64
	for range connections {
		attack.Go(func() {
			for range 1 + returns {
				c, err := l.connect("127.0.0.5")
				if err != nil { // refused while its smbd ends
					continue
				}
				came.Add(1)
				for err == nil {
					i := int(next.Add(1)) - 1
					if i >= folders*each {
						t.Error("it got through")
						break
					}
					file, _ := document(i)
					err = encrypt["in place"](c, fmt.Sprintf(`ward-%02d\%s`, i/each, file))
				}
				c.close()
			}
		})
	}
	attack.Wait()
	gone := lost(t, l.samba.Share("data"))
	t.Logf("%d connections: %d of %d files lost", came.Load(), gone, folders*each)
	if came.Load() <= connections {
		t.Error("it did not come back: this proves nothing")
	}
	if gone > most+int(came.Load())*5 {
		t.Errorf("%d files lost to %d connections", gone, came.Load())
	}
	select {
	case f := <-l.found:
		if f.Client != netip.MustParseAddr("127.0.0.5") || len(f.PIDs) < 2 || !f.Ended {
			t.Errorf("found %+v", f)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nothing found")
	}
	if len(l.found) > 0 {
		t.Errorf("told of more than once: %+v", <-l.found)
	}
}

func TestADecoyIsTouched(t *testing.T) {
	l := newLab(t, fill(t))
	if l.guard.Status().Decoys == 0 {
		t.Fatal("no decoys: this proves nothing")
	}
	c := l.client("127.0.0.5")
	all, err := filepath.Glob(filepath.Join(l.samba.Share("data"), "00_*"))
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	if err := inPlace(c, filepath.Base(all[0])); err == nil { // root's file: it is refused, and told of
		t.Log("a decoy was written to")
	}
	if err := inPlace(c, `ward-00\note-0000.txt`); err != nil {
		t.Fatal(err)
	}
	select {
	case f := <-l.found:
		if f.Lost != 1 || f.Score != 3 {
			t.Errorf("%+v", f)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a decoy and a file are not enough")
	}
}

// What people and their programs do over SMB stops nobody. The last moves files
// that the others read.
func TestOrdinaryWorkIsNotStopped(t *testing.T) {
	l := newLab(t, fill(t))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, work := range []struct {
		name string
		do   func(c *client)
	}{
		{"500 photos", func(c *client) {
			must(c.share.Mkdir("photos", 0o777))
			for i := range 500 {
				must(c.write(fmt.Sprintf(`photos\img-%03d.jpg`, i), append([]byte("\xff\xd8\xff\xe0"), noise(40<<10)...)))
			}
		}},
		{"unzip", func(c *client) {
			var b bytes.Buffer
			z := zip.NewWriter(&b)
			for i := range 200 {
				name, body := document(i)
				w, err := z.Create(name)
				must(err)
				_, err = w.Write(body)
				must(err)
			}
			must(z.Close())
			must(c.share.Mkdir("unpacked", 0o777))
			must(c.write("all.zip", b.Bytes()))
			r, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
			must(err)
			for _, f := range r.File {
				body, err := fs.ReadFile(r, f.Name)
				must(err)
				must(c.write(`unpacked\`+f.Name, body))
			}
			must(c.share.Remove("all.zip"))
		}},
		{"saved by an office program", func(c *client) {
			for i := range 40 { // written beside it, the old one put aside, the new one in its place
				name, _ := document(i*5 + 4)
				path := fmt.Sprintf(`ward-%02d\%s`, (i*5+4)/each, name)
				_, err := c.share.ReadFile(path)
				must(err)
				must(c.write(path+".tmp1", append([]byte("PK\x03\x04"), noise(sizeOf+i)...)))
				must(c.share.Rename(path, path+".tmp2"))
				must(c.share.Rename(path+".tmp1", path))
				must(c.share.Remove(path + ".tmp2"))
			}
		}},
		{"a backup reads all", func(c *client) {
			for i := range folders * each {
				name, _ := document(i)
				if _, err := c.share.ReadFile(fmt.Sprintf(`ward-%02d\%s`, i/each, name)); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"texts are edited", func(c *client) {
			for i := range 60 {
				name, body := document(i * 5)
				must(c.write(fmt.Sprintf(`ward-%02d\%s`, i*5/each, name), append(body, "and one line more\n"...)))
			}
		}},
		{"files of an encrypted backup", func(c *client) {
			must(c.share.Mkdir("repo", 0o777))
			for i := range 100 {
				must(c.write(fmt.Sprintf(`repo\%064x.tmp`, i), noise(64<<10)))
				must(c.share.Rename(fmt.Sprintf(`repo\%064x.tmp`, i), fmt.Sprintf(`repo\%064x`, i)))
			}
			for i := range 50 {
				must(c.share.Remove(fmt.Sprintf(`repo\%064x`, i)))
			}
		}},
		{"folders are put in order", func(c *client) {
			must(c.share.Mkdir("old", 0o777))
			for i := range 100 {
				name, _ := document(900 + i)
				must(c.share.Rename(fmt.Sprintf(`ward-%02d\%s`, (900+i)/each, name), `old\`+name+".old"))
			}
		}},
	} {
		c := l.client("127.0.0.6")
		work.do(c)
		c.close()
		seen := uint64(0)
		l.await("all of it is read", func() bool { now := l.guard.Status().Seen; same := now == seen; seen = now; return same })
		time.Sleep(3 * quiet) // what is judged when nobody writes to it any more
		if len(l.found) > 0 {
			t.Errorf("%s: %+v", work.name, <-l.found)
		}
	}
	t.Logf("%d operations", l.guard.Status().Seen)
}
