package evtx

import "github.com/sonae/sonae/event"

// maxNames bounds the text of names that are kept. Real logs have a few
// thousand bytes of them; a file made of names must not fill the memory.
const maxNames = 1 << 20

// names gives each name one slice for as long as possible, whatever chunk it
// comes from, so that no memory is needed for names and whoever looks them up
// may remember the slice.
type names struct {
	known   map[string][]byte
	size    int
	scratch []byte
}

func newNames() names { return names{known: map[string][]byte{}} }

// element is the name of an element, spaces removed: rules write Defender's
// "Threat Name" as ThreatName.
func (n *names) element(prefix, wide []byte) []byte {
	n.scratch = appendName(append(n.scratch[:0], prefix...), wide)
	return n.keep()
}

// attribute is the name of an attribute: Provider_Name.
func (n *names) attribute(prefix, element, wide []byte) []byte {
	n.scratch = appendName(append(n.scratch[:0], prefix...), element)
	n.scratch = appendName(append(n.scratch, '_'), wide)
	return n.keep()
}

// section is the prefix of names in a section.
func (n *names) section(wide []byte) []byte {
	n.scratch = append(appendName(n.scratch[:0], wide), '.')
	return n.keep()
}

func (n *names) keep() []byte {
	if name, ok := n.known[string(n.scratch)]; ok {
		return name
	}
	if n.size += len(n.scratch); n.size > maxNames {
		clear(n.known)
		n.size = len(n.scratch)
	}
	name := append([]byte(nil), n.scratch...)
	n.known[string(name)] = name
	return name
}

func appendName(dst, wide []byte) []byte {
	from := len(dst)
	dst = (&event.Pair{Value: wide, Enc: event.UTF16}).AppendText(dst)
	kept := dst[:from]
	for _, c := range dst[from:] {
		if c != ' ' {
			kept = append(kept, c)
		}
	}
	return kept
}
