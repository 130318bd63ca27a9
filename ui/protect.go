package ui

import (
	"slices"

	"github.com/sonae/sonae/ui/view"
)

// protectPages are the addresses of the pages about backups that there are: the
// sub-navigation offers no others.
func protectPages() []string {
	patterns := map[string]bool{}
	for _, rt := range routes() {
		patterns[rt.pattern] = true
	}
	return slices.DeleteFunc(view.ProtectPaths(), func(path string) bool { return !patterns["GET "+path] })
}
