package secret

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// noteName is the name in the ledger's keys.
const noteName = "sonae"

// dataBytes is the length of the data key.
const dataBytes = 32

// create makes all keys in a folder beside dir and moves it to dir. What an
// interrupted first start left beside dir was never used and is removed.
func create(dir string, b *box, now time.Time) error {
	staging := filepath.Clean(dir) + ".new"
	if err := os.RemoveAll(staging); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(staging), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(staging, 0o700); err != nil {
		return err
	}
	files, err := generate(now)
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := b.write(filepath.Join(staging, name), content); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // it was empty a moment ago
	}
	if err := os.Rename(staging, dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(staging))
}

// generate returns the content of every file.
func generate(now time.Time) (map[string][]byte, error) {
	files := map[string][]byte{}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if files[fileCAKey], err = x509.MarshalPKCS8PrivateKey(caKey); err != nil {
		return nil, err
	}
	if files[fileCACert], err = authority(caKey, now); err != nil {
		return nil, err
	}
	_, order, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	if files[fileOrder], err = x509.MarshalPKCS8PrivateKey(order); err != nil {
		return nil, err
	}
	signer, _, err := note.GenerateKey(rand.Reader, noteName)
	if err != nil {
		return nil, err
	}
	files[fileNote] = []byte(signer)
	data := make([]byte, dataBytes)
	if _, err := rand.Read(data); err != nil {
		return nil, err
	}
	files[fileData] = data
	return files, nil
}

func (k *Keys) takeCAKey(b []byte) error {
	key, err := x509.ParsePKCS8PrivateKey(b)
	if err != nil {
		return err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("holds a %T", key)
	}
	k.caKey = ec
	return nil
}

func (k *Keys) takeCACert(b []byte) error {
	cert, err := x509.ParseCertificate(b)
	if err != nil {
		return err
	}
	if !k.caKey.PublicKey.Equal(cert.PublicKey) {
		return errors.New("belongs to another key than " + fileCAKey)
	}
	if err := cert.CheckSignatureFrom(cert); err != nil {
		return err
	}
	k.caCert = cert
	return nil
}

func (k *Keys) takeOrder(b []byte) error {
	key, err := x509.ParsePKCS8PrivateKey(b)
	if err != nil {
		return err
	}
	ed, ok := key.(ed25519.PrivateKey)
	if !ok {
		return fmt.Errorf("holds a %T", key)
	}
	k.order = ed
	return nil
}

// takeNote also derives the verifier: the last part of a signer's text is one
// byte for the algorithm and the Ed25519 seed.
func (k *Keys) takeNote(b []byte) error {
	text := string(b)
	if _, err := note.NewSigner(text); err != nil {
		return errors.New("is not a signer key") // the cause would show parts of the key
	}
	parts := strings.SplitN(text, "+", 5) // the last part is base64 and may itself contain '+'
	raw, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return errors.New("is not a signer key")
	}
	public, ok := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return errors.New("is not an Ed25519 key")
	}
	k.signer = text
	k.verify, err = note.NewEd25519VerifierKey(noteName, public)
	return err
}

func (k *Keys) takeData(b []byte) error {
	if len(b) != dataBytes {
		return fmt.Errorf("%d bytes instead of %d", len(b), dataBytes)
	}
	k.data = b
	return nil
}
