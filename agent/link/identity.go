package link

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/sonae/sonae/agent/spool"
)

// Identity is what makes this machine a known host. It is kept in one file,
// identity.json, 0600, so that it is there as a whole or not at all.
type Identity struct {
	Hub         string            `json:"hub"` // https://name:port
	Host        string            `json:"host"`
	Site        string            `json:"site"`
	Addresses   []netip.AddrPort  `json:"addresses"`   // of the hub, literal
	CA          string            `json:"ca"`          // PEM, pinned
	Certificate string            `json:"certificate"` // PEM, leaf first
	Key         string            `json:"key"`         // PEM, PKCS #8, Ed25519
	OrderKey    ed25519.PublicKey `json:"order_key"`   // pinned
}

// ErrNotEnrolled says that the directory holds no identity.
var ErrNotEnrolled = errors.New("this machine is not enrolled")

// ErrEnrolled says that it holds one already.
var ErrEnrolled = errors.New("this machine is enrolled already")

const (
	identityFile = "identity.json"
	maxAddresses = 8
)

// Load reads the identity in dir.
func Load(dir string) (Identity, error) {
	var id Identity
	b, err := os.ReadFile(filepath.Join(dir, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return id, ErrNotEnrolled
	}
	if err != nil {
		return id, fmt.Errorf("identity: %w", err)
	}
	if err := json.Unmarshal(b, &id); err != nil {
		return id, fmt.Errorf("identity: %w", err)
	}
	if id.Host == "" || len(id.OrderKey) != ed25519.PublicKeySize {
		return id, errors.New("identity: the file is incomplete; enrol again")
	}
	return id, nil
}

func (id Identity) save(dir string) error {
	b, err := json.Marshal(id)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if err := WriteFile(filepath.Join(dir, identityFile), b); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return nil
}

// WriteFile replaces a file, mode 0600, so that a crash leaves the old content
// or the new, and what is written survives a power cut.
func WriteFile(path string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return spool.SyncDir(filepath.Dir(path))
}
