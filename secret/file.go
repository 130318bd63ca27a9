package secret

import (
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// Types of the PEM blocks in key files.
const (
	plainType  = "SONAE KEY"
	sealedType = "SONAE SEALED KEY"
)

// maxFile bounds what is read from a key file; real ones have a few hundred bytes.
const maxFile = 64 << 10

// Cost of deriving the key from the passphrase (RFC 9106, about 0.2 s). The
// numbers stand in every sealed file, so they can grow.
const (
	kdfTime    = 3
	kdfMemory  = 64 << 10 // KiB
	kdfThreads = 1
)

// box reads and writes key files, sealed when there is a passphrase.
type box struct {
	passphrase []byte
	salt       []byte // of derived
	cost       kdfCost
	derived    []byte // key from passphrase, salt and cost; nil until needed
}

type kdfCost struct {
	time, memory uint32
	threads      uint8
}

// read returns the content of the key file at path. An unsealed file is sealed
// when there is a passphrase.
func (b *box) read(path string) ([]byte, error) {
	raw, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(raw)
	switch {
	case block == nil || len(rest) > 0:
		return nil, damaged(path, errors.New("is not one PEM block"))
	case block.Type == sealedType:
		return b.unseal(path, block)
	case block.Type != plainType:
		return nil, damaged(path, fmt.Errorf("holds a block %q", block.Type))
	}
	if len(b.passphrase) > 0 {
		if err := b.write(path, block.Bytes); err != nil {
			return nil, fmt.Errorf("seal key file %s: %w", path, err)
		}
	}
	return block.Bytes, nil
}

func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("key file %s: %w: put back the copy from the backup; it is not made anew while the other keys are there", path, ErrMissing)
	}
	if err != nil {
		return nil, err
	}
	if err := checkMode(path); err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, damaged(path, fmt.Errorf("%d bytes long", info.Size()))
	}
	return os.ReadFile(path)
}

// checkMode refuses what others on the machine may read. Windows has no mode
// bits; there the access list of the data folder is what protects.
func checkMode(path string) error {
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS == "windows" {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		want := 0o600
		if info.IsDir() {
			want = 0o700
		}
		return fmt.Errorf("%s: %w (mode %04o): find out who had access, then run: chmod %o %s", path, ErrReadable, mode, want, path)
	}
	return nil
}

// write stores content at path, atomically and durably.
func (b *box) write(path string, content []byte) error {
	block := &pem.Block{Type: plainType, Bytes: content}
	if len(b.passphrase) > 0 {
		var err error
		if block, err = b.seal(filepath.Base(path), content); err != nil {
			return err
		}
	}
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(pem.EncodeToMemory(block))
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // folders cannot be synced there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

// seal encrypts content for the file of this name: a sealed file that is
// renamed does not open.
func (b *box) seal(name string, content []byte) (*pem.Block, error) {
	if b.derived == nil {
		salt := make([]byte, 16)
		if _, err := rand.Read(salt); err != nil {
			return nil, err
		}
		b.derive(salt, kdfCost{kdfTime, kdfMemory, kdfThreads})
	}
	sealed, err := sealWith(b.derived, content, []byte(name))
	if err != nil {
		return nil, err
	}
	return &pem.Block{Type: sealedType, Bytes: sealed, Headers: map[string]string{
		"Kdf":     "argon2id",
		"Memory":  strconv.Itoa(int(b.cost.memory)),
		"Salt":    fmt.Sprintf("%x", b.salt),
		"Threads": strconv.Itoa(int(b.cost.threads)),
		"Time":    strconv.Itoa(int(b.cost.time)),
	}}, nil
}

func (b *box) unseal(path string, block *pem.Block) ([]byte, error) {
	if len(b.passphrase) == 0 {
		return nil, fmt.Errorf("key file %s: %w: name the file with the passphrase in the configuration", path, ErrSealed)
	}
	salt, cost, err := header(block.Headers)
	if err != nil {
		return nil, damaged(path, err)
	}
	if b.derived == nil || string(salt) != string(b.salt) || cost != b.cost {
		b.derive(salt, cost)
	}
	content, err := unsealWith(b.derived, block.Bytes, []byte(filepath.Base(path)))
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w, or the file is damaged: check the passphrase file; if it is right, put back the copy from the backup", path, ErrPassphrase)
	}
	return content, nil
}

func (b *box) derive(salt []byte, c kdfCost) {
	b.salt, b.cost = salt, c
	b.derived = argon2.IDKey(b.passphrase, salt, c.time, c.memory, c.threads, chacha20poly1305.KeySize)
}

// header reads the cost from a sealed file. It is bounded: a damaged number
// must not take the machine's memory.
func header(h map[string]string) (salt []byte, c kdfCost, err error) {
	if h["Kdf"] != "argon2id" {
		return nil, c, fmt.Errorf("unknown key derivation %q", h["Kdf"])
	}
	if _, err := fmt.Sscanf(h["Salt"], "%x", &salt); err != nil || len(salt) < 8 {
		return nil, c, errors.New("no salt")
	}
	t, errT := strconv.ParseUint(h["Time"], 10, 8)
	m, errM := strconv.ParseUint(h["Memory"], 10, 32)
	p, errP := strconv.ParseUint(h["Threads"], 10, 8)
	if err := errors.Join(errT, errM, errP); err != nil {
		return nil, c, err
	}
	if t == 0 || p == 0 || m < 8 || m > 1<<20 {
		return nil, c, fmt.Errorf("cost out of bounds: time %d, memory %d KiB, threads %d", t, m, p)
	}
	return salt, kdfCost{uint32(t), uint32(m), uint8(p)}, nil
}
