package flow

import (
	"slices"

	"github.com/sonae/sonae/flow/clinic"
	"github.com/sonae/sonae/flow/logon"
	"github.com/sonae/sonae/flow/plain"
	"github.com/sonae/sonae/flow/quic"
	"github.com/sonae/sonae/flow/remote"
	"github.com/sonae/sonae/flow/tls"
	"github.com/sonae/sonae/flow/tunnel"
	"github.com/sonae/sonae/flow/web"
	"github.com/sonae/sonae/flow/windows"
)

// This file is the one place where a label or a rule is entered: its name for
// others, its number in the table, and what the number means.

// Labels that the table gives.
const (
	LabelBitTorrent    = "bittorrent"
	LabelWinny         = "winny"
	LabelShare         = "share"         // by behaviour; unproven, there is no sample to test with
	LabelPerfectDark   = "perfectdark"   // by behaviour; unproven, another unknown encrypted network looks the same
	LabelEDonkey       = "edonkey"       // eDonkey2000, eMule and Kad
	LabelGnutella      = "gnutella"      // Gnutella and Gnutella2
	LabelSoulseek      = "soulseek"      //
	LabelDirectConnect = "directconnect" // NMDC and ADC
	LabelSyncthing     = "syncthing"     // synchronises one's own machines: no file sharing with strangers
	LabelBitcoin       = "bitcoin"       // a node of Bitcoin or of a coin that kept its messages
	LabelEthereum      = "ethereum"      // a node of Ethereum: discovery and RLPx
	LabelMining        = "mining"        // work from a mining pool
	LabelTor           = "tor"
	LabelDNS           = "dns"
	LabelMDNS          = "mdns"
	LabelLLMNR         = "llmnr"
	LabelTLS           = "tls"
	LabelHTTP          = "http"
	LabelSSH           = "ssh"
	LabelSTUN          = "stun"
	LabelDTLS          = "dtls"
	LabelSSDP          = "ssdp"
	LabelNetBIOS       = "netbios"
	LabelDHCP          = "dhcp"
	LabelNTP           = "ntp"
	LabelWSD           = "wsd"
	LabelICMP          = "icmp"
)

// app is a label inside the table.
type app uint8

const (
	appUnknown app = iota
	appBitTorrent
	appWinny
	appShare
	appPerfectDark
	appEDonkey
	appGnutella
	appSoulseek
	appDirectConnect
	appBitcoin
	appEthereum
	appMining
	lastPeerApp // up to here connections are followed as being of interest
	appSyncthing
	appTor
	appDNS
	appMDNS
	appLLMNR
	appTLS
	appHTTP
	appSSH
	appSTUN
	appDTLS
	appSSDP
	appNetBIOS
	appDHCP
	appNTP
	appWSD
	appICMP
)

var appNames = [...]string{
	appUnknown: "", appBitTorrent: LabelBitTorrent, appWinny: LabelWinny, appShare: LabelShare, appPerfectDark: LabelPerfectDark,
	appEDonkey: LabelEDonkey, appGnutella: LabelGnutella, appSoulseek: LabelSoulseek, appDirectConnect: LabelDirectConnect,
	appBitcoin: LabelBitcoin, appEthereum: LabelEthereum, appMining: LabelMining, appSyncthing: LabelSyncthing, appTor: LabelTor,
	appDNS: LabelDNS, appMDNS: LabelMDNS, appLLMNR: LabelLLMNR, appTLS: LabelTLS, appHTTP: LabelHTTP, appSSH: LabelSSH,
	appSTUN: LabelSTUN, appDTLS: LabelDTLS, appSSDP: LabelSSDP, appNetBIOS: LabelNetBIOS, appDHCP: LabelDHCP, appNTP: LabelNTP,
	appWSD: LabelWSD, appICMP: LabelICMP,
}

// dissected are the labels that the dissectors give beside those of the table.
var dissected = [...]string{
	tls.LabelAnyDesk, tls.LabelTeamViewer, tls.LabelSplashtop, tls.LabelRustDesk, tls.LabelRemoteTool, tls.LabelTailscale,
	quic.Label, web.LabelHTTP2, web.LabelIPP, web.LabelNetSupport, web.LabelWebSocket,
	windows.LabelSMB, windows.LabelRDP, windows.LabelKerberos, windows.LabelLDAP, windows.LabelRPC,
	clinic.LabelDICOM, clinic.LabelHL7,
	logon.LabelFTP, logon.LabelSMTP, logon.LabelPOP, logon.LabelIMAP, logon.LabelTelnet,
	remote.LabelVNC, tunnel.LabelWireGuard, tunnel.LabelOpenVPN, tunnel.LabelIKE, tunnel.LabelSOCKS,
	plain.LabelSIP, plain.LabelDHCPv6, plain.LabelSNMP, plain.LabelMQTT, plain.LabelTDS, plain.LabelPG, plain.LabelMySQL,
	plain.LabelRADIUS, plain.LabelSyslog, plain.LabelRTSP,
}

// appDissected is the number of the first of them.
const appDissected app = 128

// name is the label for others.
func (a app) name() string {
	if a >= appDissected {
		return dissected[a-appDissected]
	}
	return appNames[a]
}

// appOf is the number of a label, that of the table where it has one.
func appOf(label string) app {
	if i := slices.Index(appNames[:], label); i >= 0 {
		return app(i)
	}
	if i := slices.Index(dissected[:], label); i >= 0 {
		return appDissected + app(i)
	}
	return appUnknown
}

// ofInterest reports whether connections of a are told of while they live, and
// forgotten last.
func (a app) ofInterest() bool { return a != appUnknown && a < lastPeerApp }

// Rules that give a label. A label that only one rule gives carries its own
// name as the rule.
const (
	RuleHandshake   = "bt.handshake"    // 0x13 "BitTorrent protocol" first in a TCP stream (BEP 3)
	RuleTrackerHTTP = "bt.tracker.http" // GET with a 20-byte info_hash (BEP 3, BEP 48)
	RuleTrackerUDP  = "bt.tracker.udp"  // connect with the protocol number 0x41727101980 (BEP 15)
	RuleTrackerWS   = "bt.tracker.ws"   // announce of a WebTorrent client in a WebSocket frame
	RuleDHT         = "bt.dht"          // a whole KRPC message (BEP 5)
	RuleUTP         = "bt.utp"          // uTP SYN answered with its connection id and sequence number (BEP 29)
	RuleLSD         = "bt.lsd"          // BT-SEARCH of local service discovery (BEP 14)
	RulePEX         = "bt.pex"          // peers in an extension message of a handshaken connection (BEP 11); names endpoints only
	RuleWebSeed     = "bt.webseed"      // a BitTorrent client, by the name it gives itself, fetches a range by HTTP (BEP 19)
	RuleHarvested   = "bt.harvested"    // the other end was named as a peer by one of the above
	RuleMSEPlain    = "bt.mse.plain"    // an obfuscated handshake after which the BitTorrent handshake stands in the clear
	RuleMSEShape    = "bt.mse.shape"    // one connection opens like an obfuscated BitTorrent handshake: a hint
	RuleMSEHost     = "bt.mse.host"     // the same, of a host that does so with several partners or is known to speak BitTorrent: probable
	RuleWebRTC      = "bt.webrtc"       // data channels of a host that talks to a WebTorrent tracker: probable

	RuleWinny       = "winny.first"           // the first block decrypts with the key in front of it
	RuleShare       = "share.prefix"          // several servers greet with 158 bytes that begin alike: probable
	RulePerfectDark = "perfectdark.behaviour" // random bytes with many partners, in both directions, on many high ports: a hint

	RuleEDonkey     = "ed2k.message"    // length and opcode fit to the last byte
	RuleKad         = "ed2k.kad"        // the same of Kad, over UDP
	RuleEDonkeyHost = "ed2k.obfuscated" // a host known for eDonkey opens a connection that is random from its first byte: a hint

	RuleGnutella    = "gnutella.connect" // the text that opens a connection
	RuleGnutellaUDP = "gnutella.message" // a whole message with its length
	RuleGnutella2   = "gnutella.g2"      // a Gnutella2 datagram
	RuleGnutellaGet = "gnutella.get"     // a file asked for by its URN

	RuleSoulseek      = "soulseek.message"
	RuleDirectConnect = "directconnect.hello"
	RuleSyncthing     = "syncthing.announce" // local discovery or a relay, by their magic numbers
	RuleSyncthingTLS  = "syncthing.alpn"     // the block exchange protocol named in TLS
	RuleBitcoin       = "bitcoin.message"
	RuleRLPx          = "ethereum.rlpx"
	RuleDiscovery     = "ethereum.discovery"
	RuleStratum       = "mining.stratum"
	RuleTorTLS        = "tor.certificate" // both names of the certificate are made up the way Tor does it: probable
)

// rule is a rule inside the table.
type rule uint8

const (
	ruleNone  rule = iota
	ruleOfApp      // the label itself
	ruleHandshake
	ruleTrackerHTTP
	ruleTrackerUDP
	ruleTrackerWS
	ruleDHT
	ruleUTP
	ruleLSD
	rulePEX
	ruleWebSeed
	ruleHarvested
	ruleMSEPlain
	ruleMSEShape
	ruleMSEHost
	ruleWebRTC
	ruleWinny
	ruleShare
	rulePerfectDark
	ruleEDonkey
	ruleKad
	ruleEDonkeyHost
	ruleGnutella
	ruleGnutellaUDP
	ruleGnutella2
	ruleGnutellaGet
	ruleSoulseek
	ruleDirectConnect
	ruleSyncthing
	ruleSyncthingTLS
	ruleBitcoin
	ruleRLPx
	ruleDiscovery
	ruleStratum
	ruleTorTLS
)

var ruleNames = [...]string{
	ruleNone: "", ruleOfApp: "", ruleHandshake: RuleHandshake, ruleTrackerHTTP: RuleTrackerHTTP, ruleTrackerUDP: RuleTrackerUDP,
	ruleTrackerWS: RuleTrackerWS, ruleDHT: RuleDHT, ruleUTP: RuleUTP, ruleLSD: RuleLSD, rulePEX: RulePEX, ruleWebSeed: RuleWebSeed,
	ruleHarvested: RuleHarvested, ruleMSEPlain: RuleMSEPlain, ruleMSEShape: RuleMSEShape, ruleMSEHost: RuleMSEHost, ruleWebRTC: RuleWebRTC,
	ruleWinny: RuleWinny, ruleShare: RuleShare, rulePerfectDark: RulePerfectDark, ruleEDonkey: RuleEDonkey, ruleKad: RuleKad,
	ruleEDonkeyHost: RuleEDonkeyHost, ruleGnutella: RuleGnutella, ruleGnutellaUDP: RuleGnutellaUDP, ruleGnutella2: RuleGnutella2,
	ruleGnutellaGet: RuleGnutellaGet, ruleSoulseek: RuleSoulseek, ruleDirectConnect: RuleDirectConnect, ruleSyncthing: RuleSyncthing,
	ruleSyncthingTLS: RuleSyncthingTLS, ruleBitcoin: RuleBitcoin, ruleRLPx: RuleRLPx, ruleDiscovery: RuleDiscovery, ruleStratum: RuleStratum,
	ruleTorTLS: RuleTorTLS,
}

// confidence is a Confidence inside the table.
type confidence uint8

const (
	unsure confidence = iota
	certain
	probable
	hint
)

var confidenceNames = [...]Confidence{"", Certain, Probable, Hint}
