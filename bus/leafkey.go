package bus

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/nats-io/nkeys"
)

// LeafKey returns the public key of a leaf whose seed lies in a file. A file
// that is not there is made, readable by its owner only.
func LeafKey(path string) (public string, err error) {
	seed, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		seed, err = newLeafKey(path)
	}
	if err != nil {
		return "", fmt.Errorf("key of the leaf: %w", err)
	}
	pair, err := nkeys.FromSeed(bytes.TrimSpace(seed))
	if err != nil {
		return "", fmt.Errorf("key of the leaf in %s: %w", path, err)
	}
	return pair.PublicKey()
}

func newLeafKey(path string) (seed []byte, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	if seed, err = pair.Seed(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(append(bytes.Clone(seed), '\n'))
	return seed, errors.Join(err, f.Sync(), f.Close())
}
