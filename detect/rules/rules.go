// Package rules is Sonae's own rule pack.
//
// In: nothing. Out: FS, the rules as files for detect.Load. Always true: every
// rule that people see says in Japanese and English what happened, what it
// affects, what to do next and how to quiet it, and is tested with events that
// show it and with near misses; some rules only serve correlations; what lies in
// the program is rules.pack, because antivirus takes rules as they are written
// for what they describe, and a test compares it with the files beside it.
package rules

import (
	_ "embed"
	"io/fs"
	"sync"

	"github.com/sonae/sonae/detect/pack/box"
)

//go:generate go test . -run TestPackIsMadeOfTheFilesBesideIt -update

//go:embed rules.pack
var blob []byte

// FS holds the rule files.
var FS fs.FS = packed{}

// packed opens the pack when it is first asked for.
type packed struct{}

// open unpacks once. A pack that does not open is a bug of ours, found by
// every test of this package.
var open = sync.OnceValue(func() fs.FS {
	tree, err := box.Open(blob)
	if err != nil {
		panic("rules: " + err.Error())
	}
	return tree
})

// Open opens a file or folder of the pack.
func (packed) Open(name string) (fs.File, error) { return open().Open(name) }
