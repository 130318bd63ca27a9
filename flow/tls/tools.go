package tls

import (
	"slices"
	"strings"

	"github.com/sonae/sonae/flow/proto"
)

// Labels for programs that speak TLS and give themselves away in it.
const (
	LabelAnyDesk    = "anydesk"
	LabelTeamViewer = "teamviewer"
	LabelSplashtop  = "splashtop"
	LabelRustDesk   = "rustdesk"
	LabelRemoteTool = "remote-tool"
	LabelTor        = "tor"
	LabelTailscale  = "tailscale"
)

// names are the domains that a program asks for and nobody else does. A name
// is what the client says, not proof of what follows, so it is probable.
var names = [...]struct{ suffix, label string }{
	{".anydesk.com", LabelAnyDesk},
	{".teamviewer.com", LabelTeamViewer},
	{".splashtop.com", LabelSplashtop},
	{".splashtop.eu", LabelSplashtop},
	{".rustdesk.com", LabelRustDesk},
	{".screenconnect.com", LabelRemoteTool},
	{".logmein.com", LabelRemoteTool},
	{".gotoassist.com", LabelRemoteTool},
	{".netsupportsoftware.com", LabelRemoteTool},
	{".remotepc.com", LabelRemoteTool},
	{".supremocontrol.com", LabelRemoteTool},
	{".dwservice.net", LabelRemoteTool},
	{".atera.com", LabelRemoteTool},
	{".getscreen.me", LabelRemoteTool},
	{".tailscale.com", LabelTailscale},
	{".torproject.org", LabelTor},
}

// web are the hosts of those domains at which people read, not programs talk.
var web = [...]string{"www.", "get.", "download.", "support.", "help.", "community.", "blog.", "shop.", "my."}

// ofClient names the program behind a ClientHello.
func ofClient(h *Hello, name string) proto.Verdict {
	if slices.ContainsFunc(h.Protocols, isAnyDesk) {
		return proto.Verdict{Label: LabelAnyDesk, Confidence: proto.Certain}
	}
	if name == "" {
		return proto.Verdict{}
	}
	for _, w := range web {
		if strings.HasPrefix(name, w) {
			if w == "www." && len(h.Protocols) == 0 && torName(name) {
				return proto.Verdict{Label: LabelTor, Confidence: proto.Hint}
			}
			return proto.Verdict{}
		}
	}
	for _, n := range names {
		if strings.HasSuffix(name, n.suffix) {
			return proto.Verdict{Label: n.label, Confidence: proto.Probable}
		}
	}
	return proto.Verdict{}
}

func isAnyDesk(protocol []byte) bool { return proto.Starts(protocol, "anydesk/") }

// ofCertificate names the program behind a server's certificate, given the
// common names of subject and issuer and of how many parts each is made.
func ofCertificate(subject, issuer string, subjectParts, issuerParts int) proto.Verdict {
	switch {
	case subject == "AnyNet Relay" || subject == "AnyDesk Client" || strings.HasPrefix(issuer, "AnyNet "):
		return proto.Verdict{Label: LabelAnyDesk, Confidence: proto.Certain}
	case subjectParts == 1 && issuerParts == 1 && subject != issuer && torName(subject) && torName(issuer):
		// Tor makes both names up: www., 8 to 20 letters of base 32, .net and .com.
		return proto.Verdict{Label: LabelTor, Confidence: proto.Probable}
	}
	return proto.Verdict{}
}

// torName reports whether name has the form of those that Tor makes up
// (crypto_random_hostname in its source): www.<8..25 of a-z2-7>.com or .net,
// and looks like chance, not like a word.
func torName(name string) bool {
	mid, ok := strings.CutPrefix(name, "www.")
	if !ok {
		return false
	}
	mid, end, ok := strings.Cut(mid, ".")
	if !ok || end != "com" && end != "net" || len(mid) < 8 || len(mid) > 25 {
		return false
	}
	digits, run, longest := 0, 0, 0
	for _, c := range []byte(mid) {
		vowel := false
		switch {
		case c >= '2' && c <= '7':
			digits++
		case c >= 'a' && c <= 'z':
			vowel = strings.IndexByte("aeiou", c) >= 0
		default:
			return false
		}
		if run++; vowel {
			run = 0
		}
		longest = max(longest, run)
	}
	return digits > 0 && longest >= 4 || longest >= 7
}
