package source

// Names gives one string for equal bytes, so that the few hosts and services
// of a log are allocated once. It is bounded: what comes beyond is allocated
// each time.
type Names struct{ known map[string]string }

const maxNames = 4096

// Of returns b as a string.
func (n *Names) Of(b []byte) string {
	if s, ok := n.known[string(b)]; ok {
		return s
	}
	s := string(b)
	if n.known == nil {
		n.known = map[string]string{}
	}
	if len(n.known) < maxNames && len(s) <= 256 {
		n.known[s] = s
	}
	return s
}
