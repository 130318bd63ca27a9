//go:build e2e

package e2e

import (
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sonae/sonae/e2e/netns"
)

// decent does on the quiet PC what PCs do: a large download over HTTPS, a
// package update, a copy over SSH. None of it may look like file sharing; the
// end of the story checks that no alert came of it.
func (s *story) decent(t *testing.T) {
	t.Helper()
	server := add(t, s.world, "srv", "198.18.9.77/24")
	s.download(t, server)
	s.update(t, server)
	s.copyOverSSH(t, server)
}

// download fetches as many bytes as the torrent has, by curl over HTTPS.
func (s *story) download(t *testing.T, server *netns.Host) {
	t.Helper()
	dir := t.TempDir()
	cert, ca := certificate(t, dir, server.IP())
	l, err := server.Listen(t.Context(), "tcp", server.IP()+":4443")
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, 48<<20)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	serve(t, tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}}), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }))
	got := filepath.Join(dir, "got")
	if _, err := s.quiet.host.Run(t.Context(), "curl", "-sS", "--fail", "--cacert", ca, "-o", got, "https://"+server.IP()+":4443/image.iso"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(got); err != nil || info.Size() != int64(len(content)) {
		t.Fatalf("download: %v, %v", info, err)
	}
}

// update runs apt-get update against a repository on the server.
func (s *story) update(t *testing.T, server *netns.Host) {
	t.Helper()
	repo, root := t.TempDir(), t.TempDir()
	f, err := os.Create(filepath.Join(repo, "Packages.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	fmt.Fprint(z, "Package: sonae-test\nVersion: 1\nArchitecture: all\nMaintainer: none\nFilename: ./none.deb\nSize: 1\nDescription: an empty entry\n\n")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := server.Listen(t.Context(), "tcp", server.IP()+":80")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, http.FileServer(http.Dir(repo)))
	list := filepath.Join(root, "sources.list")
	if err := os.WriteFile(list, []byte("deb [trusted=yes] http://"+server.IP()+"/ ./\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	out, err := s.quiet.host.Run(t.Context(), "apt-get", "update", "-o", "Dir::Etc::sourcelist="+list, "-o", "Dir::Etc::sourceparts=/dev/null",
		"-o", "Dir::State::lists="+filepath.Join(root, "lists"), "-o", "Dir::Cache="+filepath.Join(root, "cache"),
		"-o", "APT::Sandbox::User=root", "-o", "Acquire::http::Proxy=DIRECT")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(out)
}

// copyOverSSH copies a file to a real sshd.
func (s *story) copyOverSSH(t *testing.T, server *netns.Host) {
	t.Helper()
	dir := t.TempDir()
	key, hostKey := filepath.Join(dir, "id"), filepath.Join(dir, "host")
	for _, k := range []string{key, hostKey} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", k).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // sshd insists on this folder
		t.Fatal(err)
	}
	config := filepath.Join(dir, "sshd_config")
	text := fmt.Sprintf("HostKey %s\nAuthorizedKeysFile %s.pub\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n", hostKey, key)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, server, "/usr/sbin/sshd", "-D", "-e", "-f", config, "-p", "2222", "-o", "ListenAddress="+server.IP())
	await(t, 10*time.Second, "sshd listening", func() bool {
		c, err := s.quiet.host.Dial(t.Context(), "tcp", server.IP()+":2222")
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	file := filepath.Join(dir, "records.bin")
	if err := os.WriteFile(file, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.quiet.host.Run(t.Context(), "scp", "-q", "-i", key, "-P", "2222", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", file, "root@"+server.IP()+":"+filepath.Join(dir, "copy.bin")); err != nil {
		t.Fatal(err)
	}
}

func serve(t *testing.T, l net.Listener, h http.Handler) {
	t.Helper()
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }() // ends with Close
	t.Cleanup(func() { _ = srv.Close(); <-done })
}

// certificate makes a self-signed one for an address and the file to trust it.
func certificate(t *testing.T, dir, ip string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: ip}, IPAddresses: []net.IP{net.ParseIP(ip)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
