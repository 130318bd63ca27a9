//go:build !linux

package gateway

import "net/netip"

// Own is empty where nothing can be blocked.
func Own() []netip.Addr { return nil }
