//go:build !unix

package spool

// SyncDir does nothing: this system journals names by itself.
func SyncDir(string) error { return nil }
