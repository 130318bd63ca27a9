package guard

import (
	"path/filepath"
	"slices"
	"strings"
)

// destroying lists commands that destroy what one could restore from: the
// program, and words of which one of each group must be among its arguments.
var destroying = []struct {
	program string
	words   [][]string
}{
	{"restic", [][]string{{"forget", "prune"}}},
	{"borg", [][]string{{"delete", "prune", "compact"}}},
	{"kopia", [][]string{{"snapshot"}, {"delete", "expire"}}},
	{"vssadmin", [][]string{{"delete", "resize"}, {"shadows", "shadowstorage"}}},
	{"wmic", [][]string{{"shadowcopy"}, {"delete"}}},
	{"wbadmin", [][]string{{"delete"}}},
	{"bcdedit", [][]string{{"recoveryenabled", "bootstatuspolicy"}}},
	{"lvremove", [][]string{{"-f", "-y", "--force", "--yes", "-ff"}}},
	{"zfs", [][]string{{"destroy"}}},
	{"zpool", [][]string{{"destroy"}}},
	{"btrfs", [][]string{{"subvolume", "sub"}, {"delete", "del"}}},
	{"snapper", [][]string{{"delete", "rm"}}},
	{"virsh", [][]string{{"snapshot-delete"}}},
	{"vim-cmd", [][]string{{"vmsvc/snapshot.removeall"}}},
	{"qm", [][]string{{"delsnapshot"}}},
}

// tampers says whether a command line destroys backups or snapshots.
func tampers(args []string) bool {
	if len(args) == 0 {
		return false
	}
	name := strings.TrimSuffix(strings.ToLower(filepath.Base(strings.ReplaceAll(args[0], `\`, "/"))), ".exe")
	has := func(word string) bool {
		return slices.ContainsFunc(args[1:], func(a string) bool { return strings.EqualFold(strings.TrimPrefix(a, "/"), word) })
	}
	for _, t := range destroying {
		if t.program == name && !slices.ContainsFunc(t.words, func(group []string) bool { return !slices.ContainsFunc(group, has) }) {
			return true
		}
	}
	return false
}

// tampering are the names of the programs.
var tampering = func() map[string]bool {
	names := map[string]bool{}
	for _, t := range destroying {
		names[t.program] = true
	}
	return names
}()
