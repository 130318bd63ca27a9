//go:build !linux

package files

import "github.com/sonae/sonae/agent/collect"

// Folders and Removable need Linux.
type (
	Folders   struct{ collect.Collector }
	Removable struct{ collect.Collector }
)

// NewFolders makes nothing here.
func NewFolders(Config, Deps) (*Folders, error) { return nil, nil }

// NewRemovable makes nothing here.
func NewRemovable(Config, Deps) *Removable { return nil }
