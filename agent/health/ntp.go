package health

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/sonae/sonae/clock"
)

// ntpFor bounds waiting for a server.
const ntpFor = 3 * time.Second

// ntpEpoch is 1900-01-01, from which NTP counts, in seconds before 1970.
const ntpEpoch = 2208988800

var errNTP = errors.New("no usable answer of a time server")

// askNTP asks a server once (RFC 5905, client mode).
func askNTP(ctx context.Context, server string, now clock.Now) (reading, error) {
	address := server
	if _, _, err := net.SplitHostPort(server); err != nil {
		address = net.JoinHostPort(strings.Trim(server, "[]"), "123")
	}
	ctx, cancel := context.WithTimeout(ctx, ntpFor)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "udp", address)
	if err != nil {
		return reading{}, fmt.Errorf("ask %s for the time: %w", server, err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(ntpFor)); err != nil {
		return reading{}, fmt.Errorf("ask %s for the time: %w", server, err)
	}
	question := make([]byte, 48)
	question[0] = 4<<3 | 3                                // version 4, client
	if _, err := rand.Read(question[40:48]); err != nil { // a cookie, as RFC 9109 advises, not our time
		return reading{}, err
	}
	sent := now()
	if _, err := c.Write(question); err != nil {
		return reading{}, fmt.Errorf("ask %s for the time: %w", server, err)
	}
	answer := make([]byte, 512)
	n, err := c.Read(answer)
	if err != nil {
		return reading{}, fmt.Errorf("ask %s for the time: %w", server, err)
	}
	r, err := readNTP(answer[:n], question[40:48], sent, now())
	r.source = server
	return r, err
}

// readNTP reads an answer to the question with that cookie.
func readNTP(b, cookie []byte, sent, got time.Time) (reading, error) {
	if len(b) < 48 || b[0]&7 != 4 || string(b[24:32]) != string(cookie) {
		return reading{}, fmt.Errorf("%w: not an answer to the question", errNTP)
	}
	if leap, stratum := b[0]>>6, b[1]; leap == 3 || stratum == 0 || stratum > 15 {
		return reading{}, fmt.Errorf("%w: the server does not know the time itself", errNTP)
	}
	in, out := ntpTime(b[32:40], got), ntpTime(b[40:48], got)
	ahead := (in.Sub(sent) + out.Sub(got)) / 2
	way := got.Sub(sent) - out.Sub(in)
	if way < 0 || ahead.Abs() > maxAhead {
		return reading{}, fmt.Errorf("%w: its times cannot be", errNTP)
	}
	return reading{ahead: ahead, within: way / 2}, nil
}

// maxAhead is beyond what a clock can be wrong: it keeps the sums from
// overflowing.
const maxAhead = 50 * 365 * 24 * time.Hour

// ntpTime reads a time stamp in the era that is nearest to now.
func ntpTime(b []byte, now time.Time) time.Time {
	seconds := int64(binary.BigEndian.Uint32(b)) - ntpEpoch
	const era = 1 << 32
	for seconds < now.Unix()-era/2 {
		seconds += era
	}
	fraction := int64(binary.BigEndian.Uint32(b[4:])) * int64(time.Second) >> 32
	return time.Unix(seconds, fraction)
}
