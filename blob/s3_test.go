package blob_test

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/blob/blobtest"
	"github.com/sonae/sonae/fault"
)

// TestDamagedObjectIsNotRead changes one byte behind the server's back.
func TestDamagedObjectIsNotRead(t *testing.T) {
	server := blobtest.Serve(t)
	s := server.Open()
	for name, size := range map[string]int{"small": 1000, "large": 2*blob.MaxReplace + 1} {
		body := bytes.Repeat([]byte{'x'}, size)
		if err := s.Put(t.Context(), name, bytes.NewReader(body), int64(size)); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(filepath.Join(server.Dir(), name), os.O_RDWR, 0)
		if err == nil {
			_, err = f.WriteAt([]byte{'y'}, int64(size/2))
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		r, _, err := s.Get(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: read %d bytes, %v; want the damage named", name, n, err)
		}
		_ = r.Close()
	}
}

// TestServerIsKilledInTheMiddle ends the server with SIGKILL again and again
// while objects are put, replaced and read. What was acknowledged must be
// there, whole and once; what was refused may be tried again.
func TestServerIsKilledInTheMiddle(t *testing.T) {
	server := blobtest.Serve(t)
	s := server.Open()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const writers, rounds = 4, 20
	content := func(w, i int) []byte {
		size := 1000 * (w + 1)
		if w == 0 {
			size = blob.MaxReplace + 1 + i // in parts
		}
		body := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{byte(w), byte(i)}).Read(body) // never fails
		return body
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				name := fmt.Sprintf("w%d/%d", w, i)
				untilStored(t, name, func() error {
					body := content(w, i)
					return s.Put(t.Context(), name, bytes.NewReader(body), int64(len(body)))
				})
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	kills := killUntil(server, done, rand.New(rand.NewPCG(seed, 0)))
	t.Logf("killed %d times", kills)
	for w := range writers {
		for i := range rounds {
			if got, _ := blobtest.Get(t, s, fmt.Sprintf("w%d/%d", w, i)); got != string(content(w, i)) {
				t.Errorf("w%d/%d is not what was put", w, i)
			}
		}
	}
	if got := blobtest.Names(t, s, "", ""); len(got) != writers*rounds {
		t.Errorf("the store has %d objects, want %d", len(got), writers*rounds)
	}
}

// untilStored tries until the object is there. Only the first to ask for the
// name may be told that it is taken: nobody else uses it, so that means an
// earlier call stored it after it had given up.
func untilStored(t *testing.T, name string, put func() error) {
	for n := 0; ; n++ {
		err := put()
		switch {
		case err == nil, blob.IsExists(err) && n > 0:
			return
		case fault.Of(err) != fault.Busy || t.Context().Err() != nil:
			t.Errorf("put %s: %v", name, err)
			return
		}
	}
}

// killUntil kills the server at unlucky moments until all is done. It leaves it
// more and more time, so that a slow machine gets done as well.
func killUntil(server *blobtest.Server, done <-chan struct{}, random *rand.Rand) (kills int) {
	for {
		patience := time.Duration(50+random.IntN(250+50*kills)) * time.Millisecond
		select {
		case <-done:
			return kills
		case <-time.After(patience):
			server.Kill()
			server.Start()
			kills++
		}
	}
}

// TestReadGoesOnAfterTheServerWasKilled: the rest of an object comes with a
// further request.
func TestReadGoesOnAfterTheServerWasKilled(t *testing.T) {
	server := blobtest.Serve(t)
	s := server.Open()
	body := bytes.Repeat([]byte("0123456789"), 4<<20)
	if err := s.Put(t.Context(), "a", bytes.NewReader(body), int64(len(body))); err != nil {
		t.Fatal(err)
	}
	r, _, err := s.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	head := make([]byte, 1000)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	server.Start()
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(append(head, rest...), body) {
		t.Errorf("got %d bytes, %v; want all %d", len(head)+len(rest), err, len(body))
	}
}

func TestServerThatIsAwayIsBusy(t *testing.T) {
	server := blobtest.Serve(t)
	s := server.Open()
	server.Kill()
	if err := s.Put(t.Context(), "a", strings.NewReader("x"), 1); fault.Of(err) != fault.Busy {
		t.Errorf("got %v, want busy", err)
	}
}

// TestLostAnswers lets every first answer to a change be lost after the server
// has done it: the try after it must not take its own work for another's.
func TestLostAnswers(t *testing.T) {
	server := blobtest.Serve(t)
	through := through(t, server, false)
	var mu sync.Mutex
	seen := map[string]bool{}
	lose := func(r *http.Response) error {
		mu.Lock()
		defer mu.Unlock()
		key := r.Request.Method + r.Request.URL.String()
		if r.Request.Method == http.MethodGet || r.Request.Method == http.MethodHead || seen[key] || r.StatusCode != http.StatusOK {
			return nil
		}
		seen[key] = true
		return errors.New("the answer is lost")
	}
	through.ModifyResponse = lose
	through.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	config := server.Config()
	config.Endpoint = through.address
	s, err := blob.OpenS3(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte{'x'}, blob.MaxReplace+1)
	if err := s.Put(t.Context(), "large", bytes.NewReader(body), int64(len(body))); err != nil {
		t.Errorf("put in parts: %v", err)
	}
	blobtest.Put(t, s, "small", "1")
	tag, err := s.Replace(t.Context(), "head", []byte("1"), "")
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	clear(seen)
	mu.Unlock()
	if tag, err = s.Replace(t.Context(), "head", []byte("2"), tag); err != nil {
		t.Errorf("replace: %v", err)
	}
	if got, info := blobtest.Get(t, s, "head"); got != "2" || info.Tag != tag {
		t.Errorf("got %q with tag %s, want 2 with %s", got, info.Tag, tag)
	}
}

// proxy stands before an S3 server.
type proxy struct {
	*httputil.ReverseProxy
	address string
	server  *httptest.Server
}

func through(t *testing.T, server *blobtest.Server, tls bool) *proxy {
	t.Helper()
	p := &proxy{ReverseProxy: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: server.Endpoint})
		r.Out.Host = r.In.Host // it is signed
	}}}
	p.server = httptest.NewUnstartedServer(p)
	if tls {
		p.server.StartTLS()
	} else {
		p.server.Start()
	}
	t.Cleanup(p.server.Close)
	p.address = p.server.Listener.Addr().String()
	return p
}

func TestOwnAuthority(t *testing.T) {
	server := blobtest.Serve(t)
	p := through(t, server, true)
	config := server.Config()
	config.Endpoint, config.Insecure, config.Prefix = p.address, false, "病院/one"
	if _, err := blob.OpenS3(t.Context(), config); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("without the authority: got %v", err)
	}
	config.CA = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(config.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := blob.OpenS3(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	blobtest.Put(t, s, "a", "1")
	if got := blobtest.Names(t, server.Open(), "", ""); len(got) != 1 || got[0] != "病院/one/a" {
		t.Errorf("the bucket has %q", got)
	}
}

func TestWrongConfigurationIsNamed(t *testing.T) {
	server := blobtest.Serve(t)
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	for want, change := range map[string]func(*blob.S3){
		"blob.endpoint":    func(c *blob.S3) { c.Endpoint = "http://" + c.Endpoint },
		"blob.bucket":      func(c *blob.S3) { c.Bucket = "other" },
		"blob.denied":      func(c *blob.S3) { c.SecretKeyFile = wrong },
		"blob.credentials": func(c *blob.S3) { c.AccessKeyFile, c.SecretKeyFile = "", "" },
		"blob.ca":          func(c *blob.S3) { c.CA = wrong },
		"blob.name":        func(c *blob.S3) { c.Prefix = "../x" },
	} {
		config := server.Config()
		change(&config)
		_, err := blob.OpenS3(t.Context(), config)
		var f *fault.Error
		if !errors.As(err, &f) || f.Key != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestKeysFromTheEnvironment is how a service manager gives them.
func TestKeysFromTheEnvironment(t *testing.T) {
	config := blobtest.Serve(t).Config()
	for name, path := range map[string]string{"AWS_ACCESS_KEY_ID": config.AccessKeyFile, "AWS_SECRET_ACCESS_KEY": config.SecretKeyFile} {
		key, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(name, strings.TrimSpace(string(key)))
	}
	config.AccessKeyFile, config.SecretKeyFile = "", ""
	s, err := blob.OpenS3(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	blobtest.Put(t, s, "a", "1")
}

// TestStorageWithoutConditionsIsRefused: a server that ignores If-None-Match
// and If-Match, as some do, would let hubs overwrite each other.
func TestStorageWithoutConditionsIsRefused(t *testing.T) {
	ignores := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"any"`)
		switch {
		case r.Method == http.MethodPost && r.URL.Query().Has("uploads"):
			_, _ = io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
		case r.Method == http.MethodPost:
			_, _ = io.WriteString(w, "<CompleteMultipartUploadResult><ETag>any</ETag></CompleteMultipartUploadResult>")
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer ignores.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "key")
	_, err := blob.OpenS3(t.Context(), blob.S3{Endpoint: ignores.Listener.Addr().String(), Bucket: "sonae", Insecure: true})
	var f *fault.Error
	if !errors.As(err, &f) || f.Key != "blob.unconditional" {
		t.Errorf("got %v, want blob.unconditional", err)
	}
}
