package flow

import (
	"github.com/sonae/sonae/flow/clinic"
	"github.com/sonae/sonae/flow/logon"
	"github.com/sonae/sonae/flow/plain"
	"github.com/sonae/sonae/flow/proto"
	"github.com/sonae/sonae/flow/quic"
	"github.com/sonae/sonae/flow/remote"
	"github.com/sonae/sonae/flow/ssh"
	"github.com/sonae/sonae/flow/tls"
	"github.com/sonae/sonae/flow/tunnel"
	"github.com/sonae/sonae/flow/web"
	"github.com/sonae/sonae/flow/windows"
)

// first looks at the first bytes of both directions of a TCP connection, of
// which one may be missing yet. more says that further bytes could tell more;
// final that there will be none.
func first(b [2][]byte, final bool) (v proto.Verdict, more bool) {
	for side := range 2 {
		if len(b[side]) == 0 {
			continue
		}
		w, m := one(b[side], final)
		if w.Label != "" {
			w.From = proto.Side(side)
			return w, false
		}
		more = more || m
	}
	v, m := both(b[proto.Opener], b[proto.Answerer])
	if v.Label == "" {
		v, m = server(b[proto.Opener], b[proto.Answerer], m, final)
	}
	return v, (more || m) && v.Label == ""
}

// one asks the dissectors that need one direction only.
func one(b []byte, final bool) (v proto.Verdict, more bool) {
	switch c := b[0]; {
	case c == 0x16 || c == 0x17 && len(b) > 1 && b[1] == 3:
		return tls.Is(b, final)
	case c == 0x00:
		if v, more = windows.IsSMB(b); v.Label == "" {
			var m bool
			v, m = windows.IsKerberos(b)
			more = more || m
		}
	case c == 0x81:
		return windows.IsSMB(b)
	case c == 0x01 || c == 0x02:
		return clinic.IsDICOM(b)
	case c == 0x03:
		return windows.IsRDP(b)
	case c == 0x05:
		return windows.IsRPC(b)
	case c == 0x0b:
		return clinic.IsHL7(b)
	case c == 0x30:
		return windows.IsLDAP(b)
	case c >= 'A' && c <= 'Z':
		return word(b)
	}
	return v, more
}

// word asks those that begin with a word in capitals.
func word(b []byte) (v proto.Verdict, more bool) {
	asked := [...]func([]byte) (proto.Verdict, bool){web.Is, ssh.Is, remote.IsVNC, web.IsHTTP2}
	for _, is := range asked {
		w, m := is(b)
		if w.Label != "" {
			return w, false
		}
		more = more || m
	}
	return v, more
}

// both asks the dissectors that want to see the answer.
func both(client, server []byte) (v proto.Verdict, more bool) {
	if len(client) == 0 {
		return plain.Stream(client, server)
	}
	switch c := client[0]; {
	case c == 0x00:
		if v, more = tunnel.IsOpenVPN(client, server); v.Label == "" {
			var m bool
			v, m = plain.Stream(client, server)
			more = more || m
		}
	case c == 0x04 || c == 0x05:
		return tunnel.IsSOCKS(client, server)
	case c == 0x11 || c == 0x17:
		return remote.IsTeamViewer(client, server)
	case c == 0x10 || c == 0x12 || c >= 'A' && c <= 'Z':
		return plain.Stream(client, server)
	}
	return v, more
}

// server asks those in which the server speaks first.
func server(client, server []byte, before, final bool) (v proto.Verdict, more bool) {
	v, more = logon.Is(client, server, final)
	return v, more || before
}

// sessionOf makes what follows a connection with that label, nil for labels
// of which nothing more is to be learned.
func (t *Table) sessionOf(label string) proto.Session {
	switch label {
	case tls.Label:
		return tls.NewSession(&t.hellos, 0, 0)
	case web.Label:
		return web.New()
	case ssh.Label:
		return ssh.New()
	case windows.LabelSMB, plain.LabelNetBIOS:
		return windows.NewSMB()
	case windows.LabelRDP:
		return windows.NewRDP()
	case windows.LabelKerberos:
		return windows.NewKerberos()
	case windows.LabelLDAP:
		return windows.NewLDAP()
	case windows.LabelRPC:
		return windows.NewRPC()
	case clinic.LabelDICOM:
		return clinic.NewAssociation()
	case clinic.LabelHL7:
		return clinic.NewFeed()
	case logon.LabelFTP, logon.LabelSMTP, logon.LabelPOP, logon.LabelIMAP, logon.LabelTelnet:
		return logon.New(label)
	case remote.LabelVNC:
		return remote.NewVNC()
	case tunnel.LabelSOCKS:
		return tunnel.NewSOCKS()
	case plain.LabelMQTT:
		return plain.MQTT{}
	}
	return nil
}

// firstDatagram looks at one datagram.
func firstDatagram(b []byte) proto.Verdict {
	for _, is := range [...]func([]byte) proto.Verdict{tls.IsDTLS, quic.Is, windows.IsKerberosDatagram, windows.IsLDAPDatagram, windows.IsRDPDatagram, plain.Datagram,
		tunnel.First, remote.IsRustDesk, remote.IsTeamViewerDatagram} {
		if v := is(b); v.Label != "" {
			return v
		}
	}
	return proto.Verdict{}
}

// talkOf makes what follows the datagrams of a connection with that label.
func talkOf(label string) proto.Talk {
	switch label {
	case tls.LabelDTLS:
		return tls.NewDatagrams()
	case quic.Label:
		return quic.New()
	case windows.LabelKerberos:
		return windows.NewKerberos()
	case plain.LabelSNMP, plain.LabelDHCP, plain.LabelSIP:
		return plain.NewTalk(label)
	case tunnel.LabelWireGuard, tunnel.LabelOpenVPN, tunnel.LabelIKE:
		return tunnel.NewTalk(label)
	}
	return nil
}
