//go:build !amd64

package guard

const sysOpen = -1 // openat(2) only
