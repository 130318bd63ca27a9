// Package sambatest runs a real Samba of its own for tests.
//
// In: where it listens and what it shares. Out: a running smbd with users, told
// to write down what clients do as the manual says. Always true: nothing of the
// system's own Samba is read or written; smbd ends with the test.
package sambatest
