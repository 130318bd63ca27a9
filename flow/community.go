package flow

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
)

// FieldSensor and FieldCommunity are fields of a flow event: who saw the
// connection, absent for Sonae's own sensor, and what all sensors that know
// the Community ID call it.
const (
	FieldSensor    = "Sensor"
	FieldCommunity = "CommunityId"
)

// Protocol numbers of the connections that sensors tell of (IANA).
var protocols = map[string]uint8{"tcp": 6, "udp": 17, "sctp": 132}

// CommunityID names a connection as Suricata, Zeek and others do (Community ID
// v1, seed 0, github.com/corelight/community-id-spec): the same whichever side
// opened it. It is "" where there are no ports.
func CommunityID(proto string, a, b netip.AddrPort) string {
	number, ok := protocols[proto]
	if !ok || !a.IsValid() || !b.IsValid() || a.Addr().Unmap().BitLen() != b.Addr().Unmap().BitLen() {
		return ""
	}
	from, to := a.Addr().Unmap().WithZone(""), b.Addr().Unmap().WithZone("")
	first, second := a.Port(), b.Port()
	if c := from.Compare(to); c > 0 || c == 0 && first > second {
		from, to, first, second = to, from, second, first
	}
	var buf [2 + 16 + 16 + 2 + 4]byte
	text := append(buf[:2], from.AsSlice()...) // two bytes of seed
	text = append(text, to.AsSlice()...)
	text = append(text, number, 0)
	text = binary.BigEndian.AppendUint16(text, first)
	text = binary.BigEndian.AppendUint16(text, second)
	sum := sha1.Sum(text)
	return "1:" + base64.StdEncoding.EncodeToString(sum[:])
}

// NewID makes a Flow.ID of what another sensor calls a connection, so that its
// flows and messages belong together.
func NewID(sensor, name string) string {
	sum := sha256.Sum256([]byte(sensor + "\x00" + name))
	return hex.EncodeToString(sum[:16])
}
