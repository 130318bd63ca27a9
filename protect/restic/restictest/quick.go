package restictest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/poly1305" //lint:ignore SA1019 the format is Poly1305-AES, for which this is the part
	"golang.org/x/crypto/scrypt"

	"github.com/sonae/sonae/protect/restic"
)

// QuickKey replaces the one key file of a new repository by one of the same
// password that costs nothing to derive. restic chooses half a second of work
// for each of its calls, which guards passwords and is all that a small backup
// takes; where nobody guesses one, it is time lost.
func QuickKey(repo, password string) error {
	all, err := filepath.Glob(filepath.Join(repo, "keys", "*"))
	if err != nil || len(all) != 1 {
		return fmt.Errorf("%d keys in %s instead of one: %w", len(all), repo, err)
	}
	raw, err := os.ReadFile(all[0])
	if err != nil {
		return err
	}
	f, err := restic.ParseKeyFile(raw)
	if err != nil {
		return err
	}
	if raw, err = quicker(*f, password); err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	if err := os.WriteFile(filepath.Join(repo, "keys", hex.EncodeToString(sum[:])), raw, 0o400); err != nil {
		return err
	}
	return os.Remove(all[0])
}

// quicker seals the master key of a key file again, with the least work.
func quicker(f restic.KeyFile, password string) ([]byte, error) {
	before, err := scrypt.Key([]byte(password), f.Salt, f.N, f.R, f.P, 64)
	if err != nil {
		return nil, err
	}
	if len(f.Data) < restic.Overhead {
		return nil, errors.New("a key file without a key")
	}
	iv, text := f.Data[:aes.BlockSize], f.Data[aes.BlockSize:len(f.Data)-poly1305.TagSize]
	master, err := counter(before[:32], iv, text)
	if err != nil {
		return nil, err
	}
	f.N, f.R, f.P, f.Salt = 2, 1, 1, make([]byte, 64)
	_, _ = rand.Read(f.Salt) // never fails
	after, err := scrypt.Key([]byte(password), f.Salt, f.N, f.R, f.P, 64)
	if err != nil {
		return nil, err
	}
	if f.Data, err = seal(after, master); err != nil {
		return nil, err
	}
	return json.Marshal(f)
}

// seal makes IV ‖ ciphertext ‖ MAC with 32 bytes of AES-256, 16 of AES-128 for
// the MAC's nonce and 16 of Poly1305.
func seal(key, text []byte) ([]byte, error) {
	iv := make([]byte, aes.BlockSize)
	_, _ = rand.Read(iv) // never fails
	box, err := counter(key[:32], iv, text)
	if err != nil {
		return nil, err
	}
	nonce, err := aes.NewCipher(key[32:48])
	if err != nil {
		return nil, err
	}
	var once [32]byte
	copy(once[:16], key[48:])
	nonce.Encrypt(once[16:], iv)
	var mac [poly1305.TagSize]byte
	poly1305.Sum(&mac, box, &once)
	return append(append(iv, box...), mac[:]...), nil
}

func counter(key, iv, text []byte) ([]byte, error) {
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(text))
	cipher.NewCTR(c, iv).XORKeyStream(out, text)
	return out, nil
}
