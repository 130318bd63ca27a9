//go:build e2e

package e2e

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// thief is somebody who is root on a machine: he has the agent's key and
// certificate, speaks to the hub as the agent does, and knows restic.
type thief struct {
	id       link.Identity
	client   *http.Client
	password string // of the repository
	kit      string // folder: a copy of what the protocol gives an agent
	snap     string // name of the machine in its snapshots
}

// newThief reads the agent's files.
func newThief(t *testing.T, a *agentProcess, name string) *thief {
	t.Helper()
	id, err := link.Load(a.dir)
	must(t, err)
	cert, err := tls.X509KeyPair([]byte(id.Certificate), []byte(id.Key))
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(id.CA))
	return &thief{id: id, kit: filepath.Join(t.TempDir(), "kit"), snap: name, client: &http.Client{Timeout: time.Minute,
		Transport: &http.Transport{DialContext: a.host.Dial, TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}}}}
}

// send asks the hub for something at the agents' port.
func (x *thief) send(t *testing.T, method, at string, body []byte, header ...string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, x.id.Hub+at, bytes.NewReader(body))
	must(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := x.client.Do(req)
	must(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	must(t, err)
	return res.StatusCode, b
}

// own is a path in the machine's own repository.
func (x *thief) own(kind, name string) string {
	return strings.TrimSuffix("/restic/"+x.id.Host+"/"+kind+"/"+name, "/")
}

// learn asks for a job that the agent was ordered to do, as the agent does, and
// so learns the password.
func (x *thief) learn(t *testing.T, run string) {
	t.Helper()
	await(t, 2*time.Minute, "the job being granted", func() bool {
		status, body := x.send(t, http.MethodGet, "/agent/v1/jobs/"+run, nil)
		var g job.Grant
		if status != http.StatusOK {
			return false
		}
		must(t, json.Unmarshal(body, &g))
		x.password = g.Secret.Password
		return x.password != ""
	})
}

// names lists the files of a kind.
func (x *thief) names(t *testing.T, kind string) (names []string) {
	t.Helper()
	status, body := x.send(t, http.MethodGet, "/restic/"+x.id.Host+"/"+kind+"/", nil, "Accept", "application/vnd.x.restic.rest.v1")
	if status != http.StatusOK {
		t.Fatalf("list of %s: %d %s", kind, status, body)
	}
	must(t, json.Unmarshal(body, &names))
	return names
}

// copy takes everything that the hub gives an agent: with it and the password,
// sound files of restic can be made elsewhere.
func (x *thief) copy(t *testing.T) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(x.kit, "data"), 0o700))
	must(t, os.MkdirAll(filepath.Join(x.kit, "locks"), 0o700))
	files := []string{"config"}
	for _, kind := range []string{"keys", "index", "snapshots"} {
		for _, name := range x.names(t, kind) {
			files = append(files, kind+"/"+name)
		}
	}
	for _, name := range files {
		status, body := x.send(t, http.MethodGet, x.own(name, ""), nil)
		if status != http.StatusOK {
			t.Fatalf("GET %s: %d %s", name, status, body)
		}
		must(t, os.MkdirAll(filepath.Join(x.kit, filepath.Dir(name)), 0o700))
		must(t, os.WriteFile(filepath.Join(x.kit, name), body, 0o600))
	}
}

// forged is what stock restic makes in the copy when it is called: new files by
// kind.
func (x *thief) forged(t *testing.T, args ...string) map[string][]byte {
	t.Helper()
	there := map[string]bool{}
	for _, kind := range []string{"index", "snapshots"} {
		for _, name := range listed(t, filepath.Join(x.kit, kind)) {
			there[kind+"/"+name] = true
		}
	}
	if out, err := x.restic(t, args...).CombinedOutput(); err != nil {
		t.Fatalf("restic %v: %v: %s", args, err, out)
	}
	made := map[string][]byte{}
	for _, kind := range []string{"index", "snapshots"} {
		for _, name := range listed(t, filepath.Join(x.kit, kind)) {
			if !there[kind+"/"+name] {
				b, err := os.ReadFile(filepath.Join(x.kit, kind, name))
				must(t, err)
				made[kind] = b
			}
		}
	}
	return made
}

func listed(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (x *thief) restic(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	p := restictest.Newest(t).At(x.kit)
	p.Env = []string{"RESTIC_PASSWORD=" + x.password}
	return p.Command(t.Context(), args...)
}

// lock is an exclusive lock, as a check of restic makes one.
func (x *thief) lock(t *testing.T) (lock []byte) {
	t.Helper()
	await(t, 2*time.Minute, "a lock of restic", func() bool {
		cmd := x.restic(t, "check")
		must(t, cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for {
			for _, name := range listed(t, filepath.Join(x.kit, "locks")) {
				if b, err := os.ReadFile(filepath.Join(x.kit, "locks", name)); err == nil && restic.Sum(b).String() == name {
					lock = b
				}
			}
			select {
			case <-ended: // it finds that packs are missing, which is no matter
				return lock != nil
			case <-time.After(time.Millisecond):
			}
		}
	})
	return lock
}

// refused wants that something was not done, for a reason or because the path is
// cut: whichever came first.
func refused(t *testing.T, what, key string, status int, body []byte) {
	t.Helper()
	if status < 400 || status >= 500 || !bytes.Contains(body, []byte(key)) && !bytes.Contains(body, []byte("protect.cut")) {
		t.Errorf("%s: %d %.200s, want a refusal with %s", what, status, body, key)
	}
}

// rob tries everything that harms backups: what may be an accident first, what
// nobody does by accident after it.
func (x *thief) rob(t *testing.T) {
	t.Helper()
	x.copy(t)
	x.fake(t)
	x.overwrite(t)
	x.remove(t)
	x.litter(t)
	x.pry(t)
}

// fake sends sound files that lie.
func (x *thief) fake(t *testing.T) {
	t.Helper()
	src := filepath.Join(t.TempDir(), "src")
	restictest.Write(t, filepath.Join(src, "note"), []byte("nothing to see here"))
	post := func(kind string, body []byte) (int, []byte) {
		return x.send(t, http.MethodPost, x.own(kind, restic.Sum(body).String()), body)
	}
	future := x.forged(t, "backup", "--force", "--host", x.snap, "--time", time.Now().Add(48*time.Hour).Format("2006-01-02 15:04:05"), src)
	status, body := post("snapshots", future["snapshots"])
	refused(t, "a snapshot of the future", "protect.snapshot", status, body)
	status, body = post("index", future["index"])
	refused(t, "an index of packs that never came", "protect.junk", status, body)
	empty := x.forged(t, "backup", "--force", "--host", x.snap, src)
	status, body = post("snapshots", empty["snapshots"])
	refused(t, "a snapshot of nothing", "protect.junk", status, body)
	if status, body := post("locks", x.lock(t)); status != http.StatusOK && !bytes.Contains(body, []byte("protect.cut")) {
		t.Errorf("a lock: %d %s", status, body) // it is taken, and stops nobody
	}
	if locks := x.names(t, "locks"); len(locks) > 0 {
		t.Errorf("a forged lock is shown to others: %v", locks)
	}
}

// overwrite sends other bytes under names that are there.
func (x *thief) overwrite(t *testing.T) {
	t.Helper()
	other := make([]byte, 4096)
	_, _ = rand.Read(other) // has no error
	for _, kind := range []string{"snapshots", "index", "keys", "data"} {
		status, body := x.send(t, http.MethodPost, x.own(kind, x.names(t, kind)[0]), other)
		refused(t, "other bytes of "+kind, "protect.name", status, body)
	}
	status, body := x.send(t, http.MethodPost, x.own("config", ""), other)
	refused(t, "another config", "protect.exists", status, body)
}

// remove removes what there is.
func (x *thief) remove(t *testing.T) {
	t.Helper()
	n := 0
	for _, kind := range []string{"snapshots", "index", "keys", "data"} {
		for _, name := range x.names(t, kind) {
			status, body := x.send(t, http.MethodDelete, x.own(kind, name), nil)
			if n++; status != http.StatusForbidden || !bytes.Contains(body, []byte("protect.append-only")) {
				t.Errorf("DELETE %s/%s: %d %s", kind, name, status, body)
			}
		}
	}
	for _, at := range []string{x.own("config", ""), "/restic/" + x.id.Host + "/"} {
		if status, body := x.send(t, http.MethodDelete, at, nil); status != http.StatusForbidden {
			t.Errorf("DELETE %s: %d %s", at, status, body)
		}
	}
	t.Logf("%d files of the repository asked to be removed: none was", n)
}

// litter sends junk; four bytes of it stop every restic.
func (x *thief) litter(t *testing.T) {
	t.Helper()
	for _, kind := range []string{"index", "locks", "snapshots", "keys", "data"} {
		for _, junk := range [][]byte{[]byte("junk"), bytes.Repeat([]byte("j"), 32), bytes.Repeat([]byte("j"), 100), restictest.Noise(70_000)} {
			status, body := x.send(t, http.MethodPost, x.own(kind, restic.Sum(junk).String()), junk)
			refused(t, "junk as "+kind, "protect.", status, body)
		}
	}
}

// pry looks into other machines' backups, into the past and into the contents of
// files.
func (x *thief) pry(t *testing.T) {
	t.Helper()
	for _, at := range []string{"/restic/h-another/config", "/restic/h-another/keys/", x.own("asof/2030-01-01T00:00:00Z", "config")} {
		if status, body := x.send(t, http.MethodGet, at, nil); status != http.StatusForbidden {
			t.Errorf("GET %s: %d %s", at, status, body)
		}
	}
	shut := 0
	for _, name := range x.names(t, "data") {
		switch status, body := x.send(t, http.MethodGet, x.own("data", name), nil); {
		case status == http.StatusForbidden && strings.Contains(string(body), "protect.role"):
			shut++
		case status != http.StatusOK: // packs of folders alone, which the next backup needs
			t.Errorf("GET of a pack: %d %.100s", status, body)
		}
	}
	if shut == 0 {
		t.Error("every pack could be read with the agent's credentials")
	}
}
