package ledger

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// maxCheckpoint bounds what is read as a checkpoint: a note with the most
// cosignatures stays far below.
const maxCheckpoint = 64 << 10

// Earlier is a checkpoint from some time before, and where it came from.
type Earlier struct {
	File       string // as the report shall name it
	Checkpoint Checkpoint
	words      *Words // instead of a root, when only these are known
}

// Said is what somebody read out of an earlier checkpoint.
func Said(name string, w Words) Earlier {
	return Earlier{File: name, Checkpoint: Checkpoint{Size: w.Size}, words: &w}
}

// ReadEarlier reads an exported checkpoint. An error says that the file cannot
// be read or is no checkpoint signed by verifierKey's owner.
func ReadEarlier(file, verifierKey string) (Earlier, error) {
	v, err := note.NewVerifier(verifierKey)
	if err != nil {
		return Earlier{}, fmt.Errorf("verifier key: %w", err)
	}
	return readEarlier(file, v)
}

func readEarlier(file string, v note.Verifier) (Earlier, error) {
	b, err := readSmall(file)
	if err != nil {
		return Earlier{}, err
	}
	cp, err := openCheckpoint(string(b), v)
	return Earlier{File: file, Checkpoint: cp}, err
}

func readSmall(file string) ([]byte, error) {
	info, err := os.Lstat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxCheckpoint {
		return nil, fmt.Errorf("%s: not a checkpoint", file)
	}
	return os.ReadFile(file)
}

// Files in the folder of cosigned checkpoints: for each witness the newest
// checkpoint that it cosigned, and its key. The number is the key's hash.
var (
	cosignedFile = regexp.MustCompile(`^checkpoint-([0-9a-f]{8})$`)
	witnessFile  = regexp.MustCompile(`^key-([0-9a-f]{8})$`)
)

// ReadCosigned reads the checkpoints that a hub keeps beside its ledger (see
// Witnessed), checks the log's signature and, for damage, the cosignature with
// the key that lies beside it. What is not as it was written is named in
// differences, by path. A folder that does not exist holds none.
func ReadCosigned(dir, verifierKey string) (found []Earlier, differences []Difference, err error) {
	v, err := note.NewVerifier(verifierKey)
	if err != nil {
		return nil, nil, fmt.Errorf("verifier key: %w", err)
	}
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read cosigned checkpoints: %w", err)
	}
	differ := func(file string, err error) {
		differences = append(differences, Difference{File: file, Offset: -1, What: err.Error()})
	}
	for _, entry := range names {
		if m := witnessFile.FindStringSubmatch(entry.Name()); m != nil {
			if _, err := readWitnessKey(dir, m[1]); err != nil {
				differ(filepath.Join(dir, entry.Name()), err)
			}
		}
		m := cosignedFile.FindStringSubmatch(entry.Name())
		if m == nil {
			continue
		}
		e, err := readPair(dir, m[1], v)
		if err != nil {
			differ(filepath.Join(dir, entry.Name()), err)
			continue
		}
		found = append(found, e)
	}
	return found, differences, nil
}

// readPair reads a cosigned checkpoint and checks its cosignature with the key
// beside it.
func readPair(dir, hash string, v note.Verifier) (Earlier, error) {
	e, err := readEarlier(filepath.Join(dir, "checkpoint-"+hash), v)
	if err != nil {
		return e, err
	}
	k, err := readWitnessKey(dir, hash)
	if err != nil {
		return e, err
	}
	if _, err := e.Checkpoint.Cosigned(k); err != nil {
		return e, err
	}
	if n := len(e.Checkpoint.lines()); n != 1 {
		return e, fmt.Errorf("%d cosignatures instead of one", n)
	}
	return e, nil
}

func readWitnessKey(dir, hash string) (WitnessKey, error) {
	b, err := readSmall(filepath.Join(dir, "key-"+hash))
	if err != nil {
		return WitnessKey{}, err
	}
	k, err := ParseWitnessKey(string(b))
	if err != nil {
		return WitnessKey{}, err
	}
	if string(b) != k.String()+"\n" || !strings.HasSuffix(k.ID(), "+"+hash) {
		return WitnessKey{}, errors.New("not the witness key that was written")
	}
	return k, nil
}

// checkEarlier compares each earlier checkpoint with the leaves.
func (a *audit) checkEarlier(roots map[uint64][]byte) {
	for _, e := range a.earlier {
		cp := e.Checkpoint
		what := ""
		switch {
		case cp.Size > a.size && a.shared:
			continue // the store may have it
		case cp.Size > a.size:
			what = fmt.Sprintf("signs %d leaves, the ledger has %d: its end was cut off, or it is another history", cp.Size, a.size)
		case e.words != nil && wordsOf(a.verifier.Name(), cp.Size, roots[cp.Size]) == *e.words:
			continue
		case e.words != nil:
			what = fmt.Sprintf("the words are not those of this ledger over its first %d leaves, which are: %s", cp.Size, wordsOf(a.verifier.Name(), cp.Size, roots[cp.Size]).Kana())
		case !bytes.Equal(roots[cp.Size], cp.root()):
			what = fmt.Sprintf("signs root %s over the first %d leaves, they give %s: the ledger's history was rewritten", cp.Root, cp.Size, hex.EncodeToString(roots[cp.Size]))
		default:
			continue
		}
		a.report.Contradictions = append(a.report.Contradictions, Difference{File: e.File, Offset: -1, What: what})
	}
}
