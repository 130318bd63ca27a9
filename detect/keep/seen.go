package keep

// remembered is how many messages are known again: more than may be under way
// on the bus at once.
const remembered = 40_000

// seen is the ids of the messages that were taken last.
type seen struct {
	ids  map[string]bool
	ring []string
	next int
}

// add says whether the id is new.
func (s *seen) add(id string) bool {
	if s.ids == nil {
		s.ids = map[string]bool{}
	}
	if s.ids[id] {
		return false
	}
	s.ids[id] = true
	if len(s.ring) < remembered {
		s.ring = append(s.ring, id)
		return true
	}
	delete(s.ids, s.ring[s.next])
	s.ring[s.next] = id
	s.next = (s.next + 1) % remembered
	return true
}

// list returns the ids, the oldest first.
func (s *seen) list() []string {
	return append(append(make([]string, 0, len(s.ring)), s.ring[s.next:]...), s.ring[:s.next]...)
}
