package backup

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/protect/job"
)

// TestResticHearsTheReason: who reads its answer only after it has sent everything,
// slower than a server closes, is told why the hub refused.
func TestResticHearsTheReason(t *testing.T) {
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "protect.cut", http.StatusForbidden)
	}))
	defer hub.Close()
	d, err := openDoor(&straight{hub.Listener.Addr().String(), &http.Transport{}}, job.Secret{Password: "x", Path: "/restic/a/"}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	u, err := url.Parse(strings.TrimPrefix(d.url, "rest:") + "data/x")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const half = 8 << 20 // more than buffers hold
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", u.Path, 2*half); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if _, err := conn.Write(make([]byte, half)); err != nil {
			t.Fatalf("the connection ended first: half %d: %v", i, err)
		}
		time.Sleep(time.Second)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if said, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusForbidden || !strings.Contains(string(said), "protect.cut") {
		t.Errorf("%d %s %v", res.StatusCode, said, err)
	}
}

// BenchmarkDoor is what a pack costs on its way between restic and a hub that
// does nothing with it: processor time of all three.
func BenchmarkDoor(b *testing.B) {
	pack := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	hub := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, _ = io.Copy(io.Discard, r.Body)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(pack))
	}))
	hub.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	hub.StartTLS()
	defer hub.Close()
	roots := x509.NewCertPool()
	roots.AddCert(hub.Certificate())
	conf := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13, ServerName: "example.com"}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		raw, err := new(net.Dialer).DialContext(ctx, network, addr)
		return tls.Client(raw, conf), err
	}
	d, err := openDoor(&straight{hub.Listener.Addr().String(), &http.Transport{DialTLSContext: dial, MaxIdleConnsPerHost: 8, DisableCompression: true}},
		job.Secret{Password: "x", Path: "/restic/a/"}, func() {})
	if err != nil {
		b.Fatal(err)
	}
	defer d.close()
	at := strings.TrimPrefix(d.url, "rest:") + "data/x"
	for name, call := range map[string]func() (*http.Response, error){
		"get": func() (*http.Response, error) { return http.Get(at) },
		"post": func() (*http.Response, error) {
			return http.Post(at, "application/octet-stream", bytes.NewReader(pack))
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(pack)))
			var before, after unix.Rusage
			_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
			for b.Loop() {
				res, err := call()
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
			_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
			used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
			b.ReportMetric(float64(used)/1e6/float64(b.N)/float64(len(pack)>>20), "cpu-ms/MiB")
		})
	}
}

// straight is a link to a hub at an address.
type straight struct {
	host string
	*http.Transport
}

func (t *straight) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if r.URL.Host, r.Host = t.host, ""; t.DialTLSContext == nil {
		r.URL.Scheme = "http"
	}
	return t.Transport.RoundTrip(r)
}
