//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/e2e/netns"
)

// service is a program that can be killed and started again.
type service struct {
	host    *netns.Host
	title   string
	line    []string
	env     []string
	process *netns.Process
	used    time.Duration // CPU of earlier runs
}

func (s *service) start(t *testing.T) {
	t.Helper()
	cmd := s.host.Command(context.WithoutCancel(t.Context()), s.line[0], s.line[1:]...)
	cmd.Env = append(os.Environ(), s.env...)
	logged(t, cmd, s.title)
	var err error
	if s.process, err = s.host.Start(cmd); err != nil {
		t.Fatal(err)
	}
}

func (s *service) kill9(t *testing.T) {
	t.Helper()
	s.process.Kill9()
	s.used += cpu(t, s.process)
}

func (s *service) cpu(t *testing.T) time.Duration { return s.used + cpu(t, s.process) }

func cpu(t *testing.T, p *netns.Process) time.Duration {
	t.Helper()
	d, err := p.CPU()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// get asks a service on a host and decodes its answer into v; nil: it is only
// to answer.
func get(h *netns.Host, url string, v any) bool {
	client := http.Client{Transport: &http.Transport{DialContext: h.Dial, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	res, err := client.Get(url)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return v == nil || json.NewDecoder(res.Body).Decode(v) == nil
}

// startNats starts a cluster of NATS servers, one on each host, that sync every
// message.
func startNats(t *testing.T, program string, hosts []*netns.Host) (servers []*service) {
	t.Helper()
	var routes []string
	for _, h := range hosts {
		routes = append(routes, "nats://"+h.IP()+":6222")
	}
	for _, h := range hosts {
		dir := t.TempDir()
		conf := filepath.Join(dir, "nats.conf")
		text := fmt.Sprintf("server_name: %s\nlisten: %s:4222\nhttp: 127.0.0.1:8222\nmax_payload: 8MB\njetstream { store_dir: %q, sync_interval: always, max_file_store: 200GB }\ncluster { name: sonae, listen: %s:6222, routes: [%s] }\n",
			h.Name, h.IP(), dir, h.IP(), strings.Join(routes, ", "))
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := &service{host: h, title: "nats " + h.Name, line: []string{program, "-c", conf}}
		s.start(t)
		servers = append(servers, s)
	}
	for _, h := range hosts {
		awaitNats(t, h, len(hosts))
	}
	return servers
}

// awaitNats waits until a server knows a leader and all its peers.
func awaitNats(t *testing.T, h *netns.Host, peers int) {
	t.Helper()
	await(t, time.Minute, "the NATS cluster having a leader", func() bool {
		var a struct {
			Meta struct {
				Leader string `json:"leader"`
				Size   int    `json:"cluster_size"`
			} `json:"meta_cluster"`
		}
		return get(h, "http://127.0.0.1:8222/jsz", &a) && a.Meta.Leader != "" && a.Meta.Size == peers
	})
}

// startPostgres starts a database server on a host and returns the address of
// its database.
func startPostgres(t *testing.T, h *netns.Host) (*service, string) {
	t.Helper()
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(bins) == 0 {
		t.Skip("PostgreSQL is not installed (Debian: apt install postgresql)")
	}
	bin := bins[len(bins)-1]
	dir := filepath.Join(t.TempDir(), "postgres")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	openForAll(t, filepath.Join(dir, "data"))
	as := []string{"setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"} // it refuses root
	if out, err := exec.Command("chown", "postgres:postgres", dir).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v: %s", err, out)
	}
	data := filepath.Join(dir, "data")
	initdb := append(as, filepath.Join(bin, "initdb"), "-D", data, "-U", "sonae", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions")
	if out, err := h.Run(t.Context(), initdb[0], initdb[1:]...); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	hba, err := os.OpenFile(filepath.Join(data, "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hba.WriteString("host all all 10.0.0.0/8 trust\n"); err != nil {
		t.Fatal(err)
	}
	if err := hba.Close(); err != nil {
		t.Fatal(err)
	}
	s := &service{host: h, title: "postgres", line: append(as, filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses="+h.IP(), "-c", "max_connections=200")}
	s.start(t)
	await(t, time.Minute, "PostgreSQL answering", func() bool {
		c, err := h.Dial(t.Context(), "tcp", h.IP()+":5432")
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	return s, "postgres://sonae@" + h.IP() + ":5432/postgres?sslmode=disable"
}

// s3 is a storage server and who may use it.
type s3 struct {
	*service
	endpoint string
	access   string // files with the keys
	secret   string
	objects  string // folder in which the bucket lies
}

const bucket = "sonae"

// startS3 starts versitygw on a host.
func startS3(t *testing.T, program string, h *netns.Host) s3 {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "root", bucket), 0o700); err != nil {
		t.Fatal(err)
	}
	out := s3{endpoint: h.IP() + ":7070", objects: filepath.Join(dir, "root", bucket), access: filepath.Join(dir, "access"), secret: filepath.Join(dir, "secret")}
	keys := map[string]string{out.access: rand.Text(), out.secret: rand.Text()}
	for file, key := range keys {
		if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out.service = &service{host: h, title: "versitygw", line: []string{program, "--quiet", "--port", out.endpoint, "posix", filepath.Join(dir, "root")},
		env: []string{"ROOT_ACCESS_KEY=" + keys[out.access], "ROOT_SECRET_KEY=" + keys[out.secret]}}
	out.start(t)
	out.await(t)
	return out
}

func (s s3) await(t *testing.T) {
	t.Helper()
	await(t, time.Minute, "the S3 server answering", func() bool { return get(s.host, "http://"+s.endpoint+"/", nil) })
}

// flags are those of hubs that use the storage.
func (s s3) flags() []string {
	return []string{"--s3", "http://" + s.endpoint + "/" + bucket, "--s3-access-key", s.access, "--s3-secret-key", s.secret}
}

// open opens the bucket from outside the world.
func (s s3) open(t *testing.T) blob.Store {
	t.Helper()
	store, err := blob.OpenS3(t.Context(), blob.S3{Endpoint: forward(t, s.host, s.endpoint), Bucket: bucket, AccessKeyFile: s.access, SecretKeyFile: s.secret, Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// forward lets the test itself connect to a service inside the world.
func forward(t *testing.T, h *netns.Host, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // nothing is lost with it
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				far, err := h.Dial(t.Context(), "tcp", to)
				if err != nil {
					return
				}
				defer far.Close()
				go func() { _, _ = io.Copy(far, c); _ = far.(*net.TCPConn).CloseWrite() }() // whoever asked sees what is missing
				_, _ = io.Copy(c, far)
			}()
		}
	}()
	return l.Addr().String()
}

// versitygw finds the S3 server as the tests of package blob do.
func versitygw(t *testing.T) string {
	t.Helper()
	for _, path := range []string{os.Getenv("SONAE_VERSITYGW"), "../bin/versitygw"} {
		if _, err := os.Stat(path); err == nil {
			abs, err := filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			return abs
		}
	}
	path, err := exec.LookPath("versitygw")
	if err != nil {
		t.Skip("there is no S3 server to test with: run `sh tools/s3server.sh`, or name versitygw in SONAE_VERSITYGW")
	}
	return path
}
