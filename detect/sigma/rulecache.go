package sigma

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// cacheMagic begins a cache file. Its number grows whenever Read makes
// something else of the same bytes, or the encoding changes: a test compares
// both with what they were.
const cacheMagic = "sonae rules 2\n"

// Cache keeps what Read made of files, by the SHA-256 of their bytes, so that
// YAML is read once. It holds no more than a quick way to the same result:
// whoever may write it may change rules, as who may write the rule files.
// It is safe for concurrent use; nil is a cache that is never filled.
type Cache struct {
	path string
	old  map[[sha256.Size]byte]string

	mu    sync.Mutex
	used  map[[sha256.Size]byte]string
	fresh bool // used holds what the file does not
}

// OpenCache opens the cache in a file, which need not be there. The cache is
// good to use even with an error, which says why what the file holds is not
// used: it is damaged or from another version.
func OpenCache(path string) (*Cache, error) {
	c := &Cache{path: path, used: map[[sha256.Size]byte]string{}}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read rule cache: %w", err)
	}
	if c.old, err = openCache(data); err != nil {
		return c, fmt.Errorf("rule cache %s is not used: %w", path, err)
	}
	return c, nil
}

// openCache checks the bytes of a cache file and returns its entries.
func openCache(data []byte) (map[[sha256.Size]byte]string, error) {
	if len(data) < len(cacheMagic)+sha256.Size || string(data[:len(cacheMagic)]) != cacheMagic {
		return nil, errors.New("it was not written by this version")
	}
	body, sum := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if sha256.Sum256(body) != [sha256.Size]byte(sum) {
		return nil, errors.New("it is damaged: its checksum differs")
	}
	text := string(body[len(cacheMagic):])
	entries := map[[sha256.Size]byte]string{}
	for len(text) > 0 {
		if len(text) < sha256.Size+4 {
			return nil, errors.New("it is damaged: an entry is cut off")
		}
		key := [sha256.Size]byte([]byte(text[:sha256.Size]))
		n := int(binary.LittleEndian.Uint32([]byte(text[sha256.Size : sha256.Size+4])))
		if text = text[sha256.Size+4:]; n > len(text) {
			return nil, errors.New("it is damaged: an entry is cut off")
		}
		entries[key], text = text[:n], text[n:]
	}
	return entries, nil
}

// read returns what is in the file, from the cache where it knows the bytes.
func (c *Cache) read(f File) (content Content, hit bool) {
	if c == nil {
		return Read(f.Name, f.Data), false
	}
	key := sha256.Sum256(f.Data)
	entry, hit := c.old[key]
	if hit {
		if content, hit = decodeContent(entry, f.Name); hit {
			c.keep(key, entry, false)
			return content, true
		}
	}
	content = Read(f.Name, f.Data)
	if len(content.Correlations) > 0 { // few, and quickly read: the cache has no form for them
		return content, false
	}
	c.keep(key, encodeContent(content), true)
	return content, false
}

func (c *Cache) keep(key [sha256.Size]byte, entry string, fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used[key] = entry
	c.fresh = c.fresh || fresh
}

// Save writes what was asked for since OpenCache, when that is not what the
// file holds. A crash leaves the old file or the new one.
func (c *Cache) Save() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.fresh && len(c.used) == len(c.old) {
		return nil
	}
	b := []byte(cacheMagic)
	for key, entry := range c.used {
		b = append(b, key[:]...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(entry)))
		b = append(b, entry...)
	}
	sum := sha256.Sum256(b)
	if err := replaceFile(c.path, append(b, sum[:]...)); err != nil {
		return fmt.Errorf("write rule cache: %w", err)
	}
	c.fresh = false
	return nil
}

func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
