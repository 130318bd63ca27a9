//go:build !linux

package files

import "github.com/sonae/sonae/agent/collect"

// Folders, Removable and Scanner need Linux.
type (
	Scanner   struct{ collect.Collector }
	Folders   struct{ collect.Collector }
	Removable struct{ collect.Collector }
)

// NewFolders makes nothing here.
func NewFolders(Config, Deps) (*Folders, error) { return nil, nil }

// NewRemovable makes nothing here.
func NewRemovable(Config, Deps) *Removable { return nil }

// NewScanner makes nothing here.
func NewScanner(ScanConfig, ScanDeps) *Scanner { return nil }
