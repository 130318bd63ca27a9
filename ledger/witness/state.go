package witness

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/internal/durable"
)

// Files in a witness's folder.
const (
	fileKey    = "witness.key"     // private, a note signer key
	filePublic = "witness-key.txt" // what hubs and readers are given
	fileState  = "state.json"
)

// maxState bounds what is read as state: hundreds of checkpoints.
const maxState = 4 << 20

// stored is the content of the state file: for each origin the newest
// checkpoint that was cosigned, as the note with both signatures.
type stored struct {
	Checkpoints map[string]string `json:"checkpoints"`
}

// lockFolder makes sure that one process signs. The lock ends with the process.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fault.New(fault.Conflict, "witness.in-use").With(err), f.Close())
	}
	return f, nil
}

// openFolder reads key and state, or makes them when the folder is new. A
// folder that lost one of them does not open: a witness that forgot what it
// signed could sign another history.
func openFolder(dir, name string) (note.Signer, ledger.WitnessKey, stored, error) {
	_, errKey := os.Stat(filepath.Join(dir, fileKey))
	state, errState := readState(dir)
	if errors.Is(errKey, fs.ErrNotExist) && errors.Is(errState, fs.ErrNotExist) {
		state = stored{map[string]string{}}
		errState = writeState(dir, state)
	}
	if errors.Is(errKey, fs.ErrNotExist) && errState == nil && len(state.Checkpoints) == 0 { // new, or interrupted when it was
		if err := makeKey(dir, name); err != nil {
			return nil, ledger.WitnessKey{}, state, err
		}
		errKey = nil
	}
	if err := errors.Join(errKey, errState); err != nil {
		return nil, ledger.WitnessKey{}, state, fault.New(fault.Conflict, "witness.lost").With(err)
	}
	signer, key, err := readKey(dir)
	return signer, key, state, err
}

func makeKey(dir, name string) error {
	private, _, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return fmt.Errorf("make witness key for %q: %w", name, err)
	}
	if _, _, err := ledger.WitnessSigner(private); err != nil { // a name with a space, for one
		return fmt.Errorf("make witness key for %q: %w", name, err)
	}
	if err := durable.Write(filepath.Join(dir, fileKey), []byte(private+"\n"), 0o600); err != nil {
		return fmt.Errorf("write witness key: %w", err)
	}
	return nil
}

func readKey(dir string) (note.Signer, ledger.WitnessKey, error) {
	path := filepath.Join(dir, fileKey)
	info, err := os.Stat(path)
	if err != nil {
		return nil, ledger.WitnessKey{}, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, ledger.WitnessKey{}, fmt.Errorf("witness key %s can be read by others (mode %04o): find out who had access, then run: chmod 0600 %s", path, mode, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, ledger.WitnessKey{}, err
	}
	signer, key, err := ledger.WitnessSigner(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, ledger.WitnessKey{}, err
	}
	return signer, key, durable.Write(filepath.Join(dir, filePublic), []byte(key.String()+"\n"), 0o644)
}

// readState refuses anything but what writeState wrote.
func readState(dir string) (stored, error) {
	path := filepath.Join(dir, fileState)
	info, err := os.Stat(path)
	if err != nil {
		return stored{}, err
	}
	if info.Size() > maxState {
		return stored{}, fmt.Errorf("%s: %d bytes are more than a witness writes", path, info.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return stored{}, err
	}
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return stored{}, fmt.Errorf("%s: %w", path, err)
	}
	if again, err := s.bytes(); err != nil || !bytes.Equal(b, again) || s.Checkpoints == nil {
		return stored{}, fmt.Errorf("%s was changed", path)
	}
	return s, nil
}

func (s stored) bytes() ([]byte, error) {
	b, err := json.MarshalIndent(s, "", "\t")
	return append(b, '\n'), err
}

func writeState(dir string, s stored) error {
	b, err := s.bytes()
	if err != nil {
		return fmt.Errorf("write witness state: %w", err)
	}
	if err := durable.Write(filepath.Join(dir, fileState), b, 0o600); err != nil {
		return fmt.Errorf("write witness state: %w", err)
	}
	return nil
}
