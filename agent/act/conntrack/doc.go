// Package conntrack takes connections out of the kernel's table of tracked
// connections.
//
// In: which connections. Out: how many are forgotten. Always true: it needs no
// other program; where the kernel tracks nothing there is nothing to forget,
// which is an error that callers may ignore.
package conntrack
