package blobtest

import (
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sonae/sonae/blob"
)

// patience bounds every wait; what is waited for takes milliseconds.
const patience = 60 * time.Second

// bucketName is the only bucket of a Server.
const bucketName = "sonae"

// Server is versitygw on the loopback interface, over a folder of the test's
// own.
type Server struct {
	Endpoint string // host:port, the same after a new start

	t       testing.TB
	program string
	dir     string
	options []string // of the storage
	cmd     *exec.Cmd
	ended   chan struct{}
}

// program finds versitygw: the environment variable SONAE_VERSITYGW names it,
// bin/ of the source tree has it after tools/s3server.sh, or the PATH does.
func program() (string, error) {
	if path := os.Getenv("SONAE_VERSITYGW"); path != "" {
		return path, nil
	}
	for dir, err := os.Getwd(); err == nil && dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		if path := filepath.Join(dir, "bin", "versitygw"); executable(path) {
			return path, nil
		}
		break
	}
	path, err := exec.LookPath("versitygw")
	if err != nil {
		return "", errors.New("there is no S3 server to test with: run `sh tools/s3server.sh`, or name versitygw in SONAE_VERSITYGW")
	}
	return path, nil
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}

// Serve starts an S3 server, which ends with the test. The test is skipped
// where none is installed.
func Serve(t testing.TB) *Server {
	t.Helper()
	return serve(t, func(string) []string { return nil })
}

func serve(t testing.TB, options func(dir string) []string) *Server {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	for _, d := range []string{"root/" + bucketName, "keys"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"access", "secret"} {
		if err := os.WriteFile(filepath.Join(dir, "keys", name), []byte(rand.Text()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := &Server{t: t, program: path, dir: dir, options: options(dir)}
	t.Cleanup(s.Kill)
	for try := 0; ; try++ { // the port may be taken between its choice and its use
		s.Endpoint = freeAddress(t)
		err := s.start()
		if err == nil {
			return s
		}
		if s.Kill(); try == 3 {
			t.Fatalf("start versitygw: %v", err)
		}
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *Server) key(name string) string { return filepath.Join(s.dir, "keys", name) }

func (s *Server) start() error {
	access, err := os.ReadFile(s.key("access"))
	if err != nil {
		return err
	}
	secret, err := os.ReadFile(s.key("secret"))
	if err != nil {
		return err
	}
	args := append([]string{"--quiet", "--port", s.Endpoint, "posix"}, s.options...)
	cmd := exec.Command(s.program, append(args, filepath.Join(s.dir, "root"))...)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+string(access[:len(access)-1]), "ROOT_SECRET_KEY="+string(secret[:len(secret)-1]))
	cmd.Stderr = s.t.Output()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // Kill waits for it; how it ended is nobody's business
	s.cmd, s.ended = cmd, ended
	client := http.Client{Timeout: patience}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		res, err := client.Get("http://" + s.Endpoint + "/")
		if err == nil {
			return res.Body.Close()
		}
		select {
		case <-ended:
			return errors.New("it ended at once")
		case <-time.After(10 * time.Millisecond):
		}
	}
	return errors.New("it does not answer")
}

// Kill ends the server with SIGKILL. What it stored stays.
func (s *Server) Kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill() // it may have ended by itself
		<-s.ended
		s.cmd = nil
	}
}

// Start starts a killed server again, at the same address.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatalf("start versitygw again: %v", err)
	}
}

// Config is how the server's bucket is opened.
func (s *Server) Config() blob.S3 {
	return blob.S3{Endpoint: s.Endpoint, Bucket: bucketName, AccessKeyFile: s.key("access"), SecretKeyFile: s.key("secret"), Insecure: true}
}

// Dir is the folder in which the server keeps the objects of its bucket.
func (s *Server) Dir() string { return filepath.Join(s.dir, "root", bucketName) }

// Open opens the bucket.
func (s *Server) Open() blob.Store {
	s.t.Helper()
	store, err := blob.OpenS3(s.t.Context(), s.Config())
	if err != nil {
		s.t.Fatal(err)
	}
	return store
}
