// Package secret keeps the hub's private keys and what is made with them.
//
// In: a folder, and optionally a passphrase. Out: Keys: the certificate
// authority, the key that signs orders, the key that signs the ledger, and
// sealing of small secrets for the state. Always true: keys are made once, at
// the first start, and never silently again; a damaged, missing or
// world-readable key file is refused with its name and the remedy; no key
// leaves this package except by a method of Keys.
package secret

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sonae/sonae/clock"
)

// What can be wrong with a folder of keys. Errors of Open wrap one of these
// and name the file and the remedy.
var (
	ErrReadable   = errors.New("others may read it")
	ErrMissing    = errors.New("it is missing")
	ErrDamaged    = errors.New("it is damaged")
	ErrSealed     = errors.New("it is sealed with a passphrase")
	ErrPassphrase = errors.New("the passphrase does not fit")
)

// Names of the files in the folder.
const (
	fileCAKey  = "ca.key"
	fileCACert = "ca.crt"
	fileOrder  = "order.key"
	fileNote   = "note.key"
	fileData   = "data.key"
)

// Keys are the opened keys. They do not change after Open, so Keys is safe for
// concurrent use.
type Keys struct {
	now    clock.Now
	caKey  *ecdsa.PrivateKey
	caCert *x509.Certificate
	order  ed25519.PrivateKey
	signer string // of the ledger, in the form of x/mod/sumdb/note
	verify string
	data   []byte // 32 bytes
}

type options struct {
	now        clock.Now
	passphrase []byte
}

// Option changes how Open works.
type Option func(*options)

// Passphrase keeps the private keys sealed on disk. Keys that lie there
// unsealed, because the passphrase was configured later, are sealed by Open.
// An empty passphrase is none.
func Passphrase(p []byte) Option { return func(o *options) { o.passphrase = p } }

// Clock sets the time by which certificates are made; the default is time.Now.
func Clock(now clock.Now) Option { return func(o *options) { o.now = now } }

// Open reads the keys in dir, or makes them when dir does not exist or is
// empty. First keys appear all at once or not at all: they are written beside
// dir and moved there when all of them are on disk.
func Open(dir string, opts ...Option) (*Keys, error) {
	o := options{now: time.Now}
	for _, opt := range opts {
		opt(&o)
	}
	fresh, err := isFresh(dir)
	if err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	box := &box{passphrase: o.passphrase}
	if fresh {
		if err := create(dir, box, o.now()); err != nil {
			return nil, fmt.Errorf("make keys in %s: %w", dir, err)
		}
	}
	if err := checkMode(dir); err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	k, err := load(dir, box, o.now)
	if err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	return k, nil
}

// isFresh says whether dir holds nothing at all. A folder that holds some of
// the keys is not fresh: making the others anew would hide a loss.
func isFresh(dir string) (bool, error) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return err == nil && len(names) == 0, err
}

// Order returns the Ed25519 key that signs orders to agents.
func (k *Keys) Order() ed25519.PrivateKey { return k.order }

// Note returns the keys of the ledger's signed checkpoints, as texts of
// golang.org/x/mod/sumdb/note; the name in them is "sonae". The verifier is
// public, the signer is not.
func (k *Keys) Note() (signer, verifier string) { return k.signer, k.verify }

// load reads all files of dir.
func load(dir string, b *box, now clock.Now) (*Keys, error) {
	k := &Keys{now: now}
	for _, part := range []struct {
		file string
		take func([]byte) error
	}{
		{fileCAKey, k.takeCAKey},
		{fileCACert, k.takeCACert},
		{fileOrder, k.takeOrder},
		{fileNote, k.takeNote},
		{fileData, k.takeData},
	} {
		path := filepath.Join(dir, part.file)
		content, err := b.read(path)
		if err != nil {
			return nil, err
		}
		if err := part.take(content); err != nil {
			return nil, damaged(path, err)
		}
	}
	return k, nil
}

func damaged(path string, err error) error {
	return fmt.Errorf("key file %s: %w (%v): put back the copy from the backup; it is not made anew, because what it signed or sealed could then not be checked or read any more", path, ErrDamaged, err)
}
