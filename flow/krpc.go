package flow

// krpc is what the table needs of a message between DHT nodes (BEP 5).
type krpc struct {
	values int   // offset of the list of peers in an answer, -1 for none
	port   int64 // announce_peer: the port on which the sender listens
	portAt int   // offset of that value
	portTo int
	same   bool // announce_peer: the sender listens on the port it sends from
}

// parseKRPC reports whether b is one whole KRPC message: a dictionary that
// fills the datagram, with a transaction id and either a query whose arguments
// hold a 20-byte node id, an answer that holds one, or an error of number and
// text.
func parseKRPC(b []byte, k *krpc) bool {
	*k = krpc{values: -1}
	var kind byte
	var query, transaction, arguments, answer, failure bool
	d := bencode{data: b}
	for d.open('d'); d.more(); {
		key, _ := d.text()
		if d.bad || len(key) != 1 {
			d.skip()
			continue
		}
		switch key[0] {
		case 'y':
			if v, _ := d.text(); len(v) == 1 {
				kind = v[0]
			}
		case 't':
			v, _ := d.text()
			transaction = len(v) > 0 && len(v) <= 32
		case 'q':
			v, _ := d.text()
			query = queryName(v)
		case 'a':
			arguments = k.dictionary(&d)
		case 'r':
			answer = k.dictionary(&d)
		case 'e':
			failure = errorList(&d)
		default:
			d.skip()
		}
	}
	if d.bad || d.pos != len(b) || !transaction {
		return false
	}
	return kind == 'q' && query && arguments || kind == 'r' && answer || kind == 'e' && failure
}

// cutKRPC recognises the beginning of a message that the capture cut short.
func cutKRPC(b []byte) bool {
	return hasPrefix(b, "d1:ad2:id20:") || hasPrefix(b, "d1:rd2:id20:")
}

func queryName(s []byte) bool {
	for _, c := range s {
		if c != '_' && (c < 'a' || c > 'z') {
			return false
		}
	}
	return len(s) >= 3 && len(s) <= 24
}

// dictionary reads the arguments of a query or the values of an answer and
// reports whether there is a node id of the right length.
func (k *krpc) dictionary(d *bencode) (id bool) {
	if d.kind() != 'd' {
		d.skip()
		return false
	}
	for d.open('d'); d.more(); {
		key, _ := d.text()
		switch {
		case is(key, "id"):
			v, _ := d.text()
			id = len(v) == 20
		case is(key, "values") && d.kind() == 'l':
			k.values = d.pos
			d.skip()
		case is(key, "port") && d.kind() == 'i':
			k.portAt = d.pos
			k.port = d.integer()
			k.portTo = d.pos
		case is(key, "implied_port") && d.kind() == 'i':
			k.same = d.integer() != 0
		default:
			d.skip()
		}
	}
	return id
}

func errorList(d *bencode) bool {
	if d.kind() != 'l' {
		d.skip()
		return false
	}
	d.open('l')
	if !d.more() || d.kind() != 'i' {
		return false
	}
	d.integer()
	if !d.more() || d.kind() == 'i' || d.kind() == 'l' || d.kind() == 'd' {
		return false
	}
	d.text()
	return !d.more() && !d.bad
}

// krpcPeers names the peers that a message holds.
func (t *Table) krpcPeers(i int32, side int, b []byte, k *krpc) {
	if k.values >= 0 {
		d := bencode{data: b, pos: k.values}
		for d.open('l'); d.more(); {
			s, at := d.text()
			if e, ok := compactEndpoint(s); ok && !d.bad {
				t.name(i, side, e, s, at, ruleDHT)
			}
			if d.bad {
				return
			}
		}
	}
	if k.port > 0 && k.port < 1<<16 {
		e := t.slots[i].key.end(side)
		if !k.same {
			e = endpointOf([16]byte(e[:16]), uint16(k.port))
		}
		t.name(i, side, e, b[k.portAt:k.portTo], k.portAt, ruleDHT)
	}
}
