package pack

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sonae/sonae/detect/pack/box"
	"github.com/sonae/sonae/detect/sigma"
)

// KeyFile remembers, in the folder of a pack, whose signature it asks for.
const KeyFile = "rules.key"

// Update is a pack that is to take the place of another.
type Update struct {
	SHA256   string // of the source file, hex; "" when it is a folder
	SignedBy string // name of the key, "" when no key was asked for
	Rules    int    // usable ones in the new pack
	New      []Entry
	Changed  []Entry
	Removed  []Entry
	Rejected []Entry // with Reason

	dir  string
	key  string
	blob []byte
}

// Entry is a rule in a comparison of packs.
type Entry struct {
	ID, Title, File, Reason string
}

// Same says whether nothing would change.
func (u *Update) Same() bool { return len(u.New)+len(u.Changed)+len(u.Removed) == 0 }

// Prepare reads the pack at from and compares it with the one in dir. sum is
// the SHA-256 (hex) that the file must have, key the public key that must have
// signed it; both may be empty, but once a key was asked for in dir it is asked
// for again: otherwise whoever can swap the file could leave the signature out.
// Nothing is changed before Apply.
func Prepare(dir, from, sum, key string) (*Update, error) {
	u := &Update{dir: dir}
	if err := u.digest(from, sum); err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	known, err := os.ReadFile(filepath.Join(dir, KeyFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the key of the pack: %w", err)
	}
	u.key = cmp.Or(key, strings.TrimSpace(string(known)))
	tree, err := Tree(from)
	if err != nil {
		return nil, err
	}
	files, err := read(tree)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	if u.SignedBy, err = verify(files, u.key); err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	files = kept(files)
	if u.blob, err = box.Encode(files); err != nil {
		return nil, err
	}
	return u, u.compare(files)
}

// digest checks the file itself.
func (u *Update) digest(from, want string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		if want != "" {
			return errors.New("a folder has no SHA-256: give the file of the pack")
		}
		return nil
	}
	b, err := readBounded(from)
	if err != nil {
		return err
	}
	got := sha256.Sum256(b)
	u.SHA256 = hex.EncodeToString(got[:])
	if want != "" && !strings.EqualFold(want, u.SHA256) {
		return fmt.Errorf("its SHA-256 is %s, not %s: it was changed or is another file", u.SHA256, want)
	}
	return nil
}

// compare finds out what changes.
func (u *Update) compare(files map[string][]byte) error {
	before := map[string]entryOf{}
	if old := filepath.Join(u.dir, Name); exists(old) {
		tree, err := Tree(old)
		if err != nil {
			return err
		}
		oldFiles, err := box.Files(tree)
		if err != nil {
			return err
		}
		before, _ = entries(oldFiles)
	}
	after, rejected := entries(files)
	u.Rejected, u.Rules = rejected, len(after)
	if len(after) == 0 {
		return errors.New("there is no usable rule in it")
	}
	for _, id := range slices.Sorted(maps.Keys(after)) {
		old, known := before[id]
		switch {
		case !known:
			u.New = append(u.New, after[id].Entry)
		case old.digest != after[id].digest:
			u.Changed = append(u.Changed, after[id].Entry)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(before)) {
		if _, still := after[id]; !still {
			u.Removed = append(u.Removed, before[id].Entry)
		}
	}
	return nil
}

// entryOf is a rule and the digest of the file it stands in.
type entryOf struct {
	Entry
	digest [sha256.Size]byte
}

// entries lists the rules of a pack by id.
func entries(files map[string][]byte) (map[string]entryOf, []Entry) {
	all := map[string]entryOf{}
	var rejected []Entry
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !isRule(name) {
			continue
		}
		digest := sha256.Sum256(files[name])
		rules, correlations, bad := sigma.Parse(name, files[name])
		for _, c := range correlations {
			rules = append(rules, &c.Rule)
		}
		for _, r := range rules {
			if first, taken := all[r.ID]; taken {
				rejected = append(rejected, Entry{r.ID, r.Title, name, "the id is taken by " + first.File})
				continue
			}
			all[r.ID] = entryOf{Entry{r.ID, r.Title, name, ""}, digest}
		}
		for _, e := range bad {
			rejected = append(rejected, Entry{e.ID, "", fmt.Sprintf("%s:%d", name, e.Line), e.Reason})
		}
	}
	return all, rejected
}

// Apply puts the pack in place. Whoever reads the folder finds the old pack or
// the new one, whole; the old one stays beside it.
func (u *Update) Apply() error {
	if err := os.MkdirAll(u.dir, 0o755); err != nil {
		return fmt.Errorf("put rules in place: %w", err)
	}
	current := filepath.Join(u.dir, Name)
	old, err := os.ReadFile(current)
	switch {
	case err == nil:
		err = replace(filepath.Join(u.dir, Previous), old)
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err == nil && u.key != "" {
		err = replace(filepath.Join(u.dir, KeyFile), []byte(u.key+"\n"))
	}
	if err == nil {
		err = replace(current, u.blob)
	}
	if err != nil {
		return fmt.Errorf("put rules in place: %w", err)
	}
	return nil
}

// Back lets the pack before take the place of the present one, and the other
// way round.
func Back(dir string) error {
	current, previous := filepath.Join(dir, Name), filepath.Join(dir, Previous)
	now, err := os.ReadFile(current)
	if err != nil {
		return fmt.Errorf("go back: %w", err)
	}
	before, err := os.ReadFile(previous)
	if err != nil {
		return fmt.Errorf("go back: %w", err)
	}
	if _, err := box.Open(before); err != nil {
		return fmt.Errorf("go back: %s: %w", previous, err)
	}
	if err := replace(current, before); err != nil {
		return fmt.Errorf("go back: %w", err)
	}
	if err := replace(previous, now); err != nil {
		return fmt.Errorf("go back: %w", err)
	}
	return nil
}

// replace writes a file all at once, and on the disk before it shows.
func replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".sonae-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Chmod(f.Name(), 0o644); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
