package secret

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

func open(t *testing.T, dir string, opts ...Option) *Keys {
	t.Helper()
	k, err := Open(dir, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeysStayTheSameAcrossStarts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "keys")
	a := open(t, dir)
	b := open(t, dir)
	if a.Fingerprint() != b.Fingerprint() || !a.Order().Equal(b.Order()) {
		t.Error("the second start made other keys")
	}
	sealed, err := a.Seal([]byte("secret"), []byte("totp/pe-1"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Unseal(sealed, []byte("totp/pe-1")); err != nil || string(got) != "secret" {
		t.Errorf("unsealed %q, %v", got, err)
	}
	if !bytes.Equal(a.Mac("p", "x"), b.Mac("p", "x")) || bytes.Equal(a.Mac("p", "x"), a.Mac("q", "x")) {
		t.Error("a keyed digest depends on the start, or does not depend on its purpose")
	}
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	open(t, dir)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info.Mode(), err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 5 {
		t.Fatalf("%d files, %v; want 5", len(files), err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
	}
}

func TestNoteKeysFitTogether(t *testing.T) {
	for range 20 { // base64 texts with '+' in them must work too
		k := open(t, filepath.Join(t.TempDir(), "keys"))
		signer, verifier := k.Note()
		s, err := note.NewSigner(signer)
		if err != nil {
			t.Fatal(err)
		}
		v, err := note.NewVerifier(verifier)
		if err != nil {
			t.Fatal(err)
		}
		if s.Name() != "sonae" {
			t.Fatalf("the key is named %q", s.Name())
		}
		msg, err := note.Sign(&note.Note{Text: "hello\n"}, s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := note.Open(msg, note.VerifierList(v)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBadFilesAreNamedAndNeverMadeAnew(t *testing.T) {
	for name, tt := range map[string]struct {
		file  string
		spoil func(path string) error
		want  error
	}{
		"others may read the key": {fileOrder, func(p string) error { return os.Chmod(p, 0o644) }, ErrReadable},
		"the group may read it":   {fileData, func(p string) error { return os.Chmod(p, 0o640) }, ErrReadable},
		"one key is missing":      {fileCAKey, os.Remove, ErrMissing},
		"the certificate is gone": {fileCACert, os.Remove, ErrMissing},
		"cut short":               {fileNote, func(p string) error { return os.Truncate(p, 10) }, ErrDamaged},
		"empty after a crash":     {fileData, func(p string) error { return os.Truncate(p, 0) }, ErrDamaged},
		"something else":          {fileCAKey, func(p string) error { return os.WriteFile(p, []byte("hello"), 0o600) }, ErrDamaged},
		"far too long":            {fileOrder, func(p string) error { return os.Truncate(p, 1<<30) }, ErrDamaged},
		"a certificate of another key": {fileCACert, func(p string) error {
			other := filepath.Join(filepath.Dir(filepath.Dir(p)), "other")
			if _, err := Open(other); err != nil {
				return err
			}
			return os.Rename(filepath.Join(other, fileCACert), p)
		}, ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "keys")
			open(t, dir)
			path := filepath.Join(dir, tt.file)
			if err := tt.spoil(path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Stat(path)
			_, err := Open(dir)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), path) {
				t.Fatalf("got %v; want %v and the name of the file", err, tt.want)
			}
			after, _ := os.Stat(path)
			if (before == nil) != (after == nil) {
				t.Error("opening changed the file")
			}
			if before != nil && (before.Size() != after.Size() || before.Mode() != after.Mode()) {
				t.Error("opening changed the file")
			}
		})
	}
}

func TestFolderThatOthersMayEnterIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	open(t, dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, ErrReadable) || !strings.Contains(err.Error(), "chmod 700 "+dir) {
		t.Errorf("got %v; want the remedy", err)
	}
}

func TestInterruptedFirstStartLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := os.Mkdir(dir+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir+".new", fileCAKey), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if _, err := os.Stat(dir + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the rest of the first attempt is still there: %v", err)
	}
}

func TestPassphrase(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	plain := open(t, dir)
	sealed := open(t, dir, Passphrase([]byte("雨にも負けず 風にも負けず"))) // configured later: seals what is there
	if plain.Fingerprint() != sealed.Fingerprint() {
		t.Fatal("sealing changed the keys")
	}
	for _, name := range []string{fileCAKey, fileCACert, fileOrder, fileNote, fileData} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Contains(raw, []byte(sealedType)) {
			t.Errorf("%s is not sealed (%v)", name, err)
		}
		if block, _ := pem.Decode(raw); block != nil && bytes.Contains(block.Bytes, plain.data[:8]) {
			t.Errorf("%s shows the key", name)
		}
	}
	if again := open(t, dir, Passphrase([]byte("雨にも負けず 風にも負けず"))); !again.Order().Equal(plain.Order()) {
		t.Error("the passphrase opens other keys")
	}
	if _, err := Open(dir, Passphrase([]byte("wrong"))); !errors.Is(err, ErrPassphrase) {
		t.Errorf("wrong passphrase: %v", err)
	}
	if _, err := Open(dir); !errors.Is(err, ErrSealed) {
		t.Errorf("no passphrase: %v", err)
	}
	// a sealed file under another name does not open
	if err := os.Rename(filepath.Join(dir, fileOrder), filepath.Join(dir, fileCAKey)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Passphrase([]byte("雨にも負けず 風にも負けず"))); !errors.Is(err, ErrPassphrase) {
		t.Errorf("exchanged files: %v", err)
	}
}

func TestUnsealRefusesWhatWasNotSealedForThis(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), "keys"))
	sealed, err := k.Seal([]byte("JBSWY3DP"), []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Unseal(sealed, []byte("b")); err == nil {
		t.Error("opened in another context")
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := k.Unseal(bad, []byte("a")); err == nil {
			t.Fatalf("a changed byte at %d was not noticed", i)
		}
	}
	for n := range sealed {
		if _, err := k.Unseal(sealed[:n], []byte("a")); err == nil {
			t.Fatalf("%d of %d bytes were enough", n, len(sealed))
		}
	}
}

func TestOrderKeySigns(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), "keys"))
	public, ok := k.Order().Public().(ed25519.PublicKey)
	if !ok || !ed25519.Verify(public, []byte("m"), ed25519.Sign(k.Order(), []byte("m"))) {
		t.Error("the order key does not sign")
	}
}

func FuzzKeyFile(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "keys")
	if _, err := Open(dir); err != nil {
		f.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, fileCAKey))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte("-----BEGIN SONAE SEALED KEY-----\nKdf: argon2id\nMemory: 8\nSalt: 0011223344556677\nThreads: 1\nTime: 1\n\nAAAA\n-----END SONAE SEALED KEY-----\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), fileCAKey)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		b := &box{}
		got, err := b.read(path)
		if err != nil {
			return
		}
		var k Keys
		if err := k.takeCAKey(got); err == nil && k.caKey == nil {
			t.Error("no key and no error")
		}
		_ = k.takeNote(got)
		_ = k.takeOrder(got)
	})
}

func at(year int) func() time.Time {
	return func() time.Time { return time.Date(year, 4, 1, 9, 0, 0, 0, time.UTC) }
}

func parse(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, rest := pem.Decode(text)
	if block == nil || len(rest) > 0 {
		t.Fatal("not one PEM block")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
