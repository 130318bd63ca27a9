// Package radius ends or moves the session of a machine at an access point or
// a switch that it logged in to (IEEE 802.1X, MAC authentication), by
// Disconnect and Change-of-Authorization requests (RFC 5176).
//
// In: a device, its secret, an address. Out: requests and what was answered.
// Always true: requests carry a Message-Authenticator and the time; answers
// that the shared secret does not prove are not believed.
package radius

import (
	"context"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RFC 2869 knows no other
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2868"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3576"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/clock"
)

// Values of Tunnel-Type and Tunnel-Medium-Type for a VLAN (RFC 3580).
const (
	tunnelVLAN   = 13
	tunnelIEEE   = 6
	answerWithin = 3 * time.Second
	sendAgain    = time.Second
	nobody       = "00:00:00:00:00:00"
)

// Connector speaks RADIUS.
type Connector struct{ now clock.Now }

// New returns the Connector.
func New(now clock.Now) Connector { return Connector{now} }

// noSession is the Error-Cause of a NAS that does not know the session.
const noSession = rfc3576.ErrorCause_Value_SessionContextNotFound

// Find takes the target as it is: a NAS knows sessions, it cannot be asked for
// them.
func (Connector) Find(_ context.Context, d device.Device, _ device.Secrets, target string) (device.Place, error) {
	before, err := json.Marshal(d.Normal)
	return device.Place{Key: target, Before: before}, err
}

// Block ends or moves the session. No session is a success.
func (c Connector) Block(ctx context.Context, d device.Device, s device.Secrets, target string, _ device.Place) error {
	_, err := c.ask(ctx, d, s, target, d.VLAN)
	return err
}

// Check asks again: a machine that logged in in the meantime is cut off or
// moved by the asking.
func (c Connector) Check(ctx context.Context, d device.Device, s device.Secrets, target string, _ device.Place) (bool, string, error) {
	found, err := c.ask(ctx, d, s, target, d.VLAN)
	switch {
	case err != nil:
		return false, "", err
	case !found:
		return true, "no session", nil
	case d.Means == action.CoA:
		return true, fmt.Sprintf("session moved to VLAN %d", d.VLAN), nil
	}
	return true, "session ended", nil
}

// Restore moves the session back. After Disconnect there is nothing to undo:
// the machine may log in again as soon as nobody ends its sessions any more.
func (c Connector) Restore(ctx context.Context, d device.Device, s device.Secrets, target string, p device.Place) error {
	if d.Means != action.CoA {
		return nil
	}
	var normal int
	if err := json.Unmarshal(p.Before, &normal); err != nil {
		return fmt.Errorf("state before: %w", err)
	}
	_, err := c.ask(ctx, d, s, target, normal)
	return err
}

// Test asks to end the session of an address that nobody has.
func (c Connector) Test(ctx context.Context, d device.Device, s device.Secrets) (string, error) {
	d.Means = action.Disconnect
	if _, err := c.ask(ctx, d, s, nobody, 0); err != nil {
		return "", err
	}
	return "the secret fits", nil
}

// ask sends one request and says whether the NAS knew the session.
func (c Connector) ask(ctx context.Context, d device.Device, s device.Secrets, target string, vlan int) (found bool, err error) {
	p, err := c.request(d, s["secret"], target, vlan)
	if err != nil {
		return false, err
	}
	ctx, stop := context.WithTimeout(ctx, answerWithin)
	defer stop()
	client := radius.Client{Retry: sendAgain}
	answer, err := client.Exchange(ctx, p, d.Address)
	if err != nil {
		return false, fmt.Errorf("device-silent: %w", err)
	}
	switch answer.Code {
	case radius.CodeDisconnectACK, radius.CodeCoAACK:
		return true, nil
	case radius.CodeDisconnectNAK, radius.CodeCoANAK:
		if cause := rfc3576.ErrorCause_Get(answer); cause != noSession {
			return false, fmt.Errorf("device-refused: %s", cause)
		}
		return false, nil
	}
	return false, fmt.Errorf("answer-unreadable: %s", answer.Code)
}

func (c Connector) request(d device.Device, secret, target string, vlan int) (*radius.Packet, error) {
	code := radius.CodeDisconnectRequest
	if d.Means == action.CoA {
		code = radius.CodeCoARequest
	}
	p := radius.New(code, []byte(secret))
	errs := []error{name(p, target), rfc2869.EventTimestamp_Set(p, c.now())}
	if code == radius.CodeCoARequest {
		errs = append(errs,
			rfc2868.TunnelType_Add(p, 0, tunnelVLAN),
			rfc2868.TunnelMediumType_Add(p, 0, tunnelIEEE),
			rfc2868.TunnelPrivateGroupID_AddString(p, 0, strconv.Itoa(vlan)))
	}
	return p, errors.Join(append(errs, sign(p, secret))...)
}

// name says whose session is meant: by the hardware address in the form of
// RFC 3580, or by the IP address.
func name(p *radius.Packet, target string) error {
	if m, err := net.ParseMAC(target); err == nil {
		return rfc2865.CallingStationID_SetString(p, strings.ToUpper(strings.ReplaceAll(m.String(), ":", "-")))
	}
	a, err := netip.ParseAddr(target)
	if err != nil || !a.Is4() {
		return fmt.Errorf("target-unusable: %s", target)
	}
	return rfc2865.FramedIPAddress_Set(p, a.AsSlice())
}

// sign adds the Message-Authenticator: for these requests it is computed with
// an authenticator of zeros (RFC 5176 section 3.4).
func sign(p *radius.Packet, secret string) error {
	if err := rfc2869.MessageAuthenticator_Set(p, make([]byte, md5.Size)); err != nil {
		return err
	}
	p.Authenticator = [16]byte{}
	b, err := p.MarshalBinary()
	if err != nil {
		return fmt.Errorf("sign request: %w", err)
	}
	mac := hmac.New(md5.New, []byte(secret))
	mac.Write(b)
	return rfc2869.MessageAuthenticator_Set(p, mac.Sum(nil))
}
