package auditd

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source/linux"
)

// Names that Sigma has for what happens on a machine.
var (
	nameImage    = []byte("Image")
	nameCommand  = []byte("CommandLine")
	nameDir      = []byte("CurrentDirectory")
	namePID      = []byte("ProcessId")
	nameParent   = []byte("ParentProcessId")
	nameUser     = []byte("User")
	nameLogon    = []byte("LogonId")
	nameTarget   = []byte("TargetFilename")
	nameDestIP   = []byte("DestinationIp")
	nameDestPort = []byte("DestinationPort")
	nameOpened   = []byte("Initiated")
	nameSyscall  = []byte("SYSCALL")
	yes          = []byte("true")
)

// Categories of audit events: what happened may be several things.
var (
	processCreation   = []string{"process_creation"}
	fileEvent         = []string{"file_event"}
	networkConnection = []string{"network_connection"}
)

// complete adds the log source and Sigma's names.
func (p *parser) complete() {
	k := &p.key
	p.rec.Product, p.rec.Service = linux.Product, "auditd"
	if len(k.syscallName) == 0 && len(k.syscall) > 0 {
		if name := syscallName(k.arch, atoi(k.syscall)); name != "" {
			k.syscallName = p.keep(name)
			p.rec.Add(nameSyscall, k.syscallName, event.Plain)
		}
	}
	switch {
	case k.executed && string(k.success) != "no":
		p.rec.Categories = processCreation
		p.add(nameImage, k.exe)
		p.add(nameCommand, p.args)
		p.who()
	case p.opened():
		p.rec.Categories = networkConnection
		p.add(nameImage, k.exe)
		p.add(nameDestIP, k.address)
		p.add(nameDestPort, k.port)
		p.rec.Add(nameOpened, yes, event.Plain)
		p.who()
	case p.made():
		p.rec.Categories = fileEvent
		p.add(nameImage, k.exe)
		p.who()
	}
}

func (p *parser) add(name, value []byte) {
	if len(value) > 0 {
		p.rec.Add(name, value, event.Plain)
	}
}

func (p *parser) keep(s string) []byte {
	from := len(p.room)
	p.room = append(p.room, s...)
	return p.room[from:len(p.room):len(p.room)]
}

// who adds the process and its user, by name where the log knows it.
func (p *parser) who() {
	k := &p.key
	p.add(namePID, k.pid)
	p.add(nameParent, k.ppid)
	p.add(nameDir, k.cwd)
	p.add(nameLogon, k.auid)
	if len(k.user) > 0 {
		p.add(nameUser, k.user)
		return
	}
	p.add(nameUser, k.uid)
}

// made adds the files that the event made, with their whole path.
func (p *parser) made() bool {
	if string(p.key.success) == "no" {
		return false
	}
	found := false
	var path []byte
	for i := 0; i < len(p.rec.Pairs); i++ {
		pair := &p.rec.Pairs[i]
		switch string(pair.Name) {
		case "type":
			path = nil
		case "name":
			path = pair.Value
		case "nametype":
			if string(pair.Value) == "CREATE" && len(path) > 0 {
				found = true
				p.rec.Add(nameTarget, p.absolute(path), event.Plain)
			}
		}
	}
	return found
}

func (p *parser) absolute(path []byte) []byte {
	if path[0] == '/' || len(p.key.cwd) == 0 {
		return path
	}
	from := len(p.room)
	p.room = append(p.room, p.key.cwd...)
	if !bytes.HasSuffix(p.key.cwd, []byte("/")) {
		p.room = append(p.room, '/')
	}
	p.room = append(p.room, path...)
	return p.room[from:len(p.room):len(p.room)]
}

// Families of addresses in saddr.
const (
	familyIPv4 = 2
	familyIPv6 = 10
)

// opened says whether a connection over the network was opened, and finds out
// whereto. saddr is a struct sockaddr in hexadecimal.
func (p *parser) opened() bool {
	k := &p.key
	if string(k.syscallName) != "connect" || len(k.saddr) == 0 {
		return false
	}
	if len(k.address) > 0 {
		return true
	}
	b := p.decode(k.saddr)
	if len(b) < 8 {
		return false
	}
	var address netip.Addr
	switch binary.LittleEndian.Uint16(b) {
	case familyIPv4:
		address = netip.AddrFrom4([4]byte(b[4:8]))
	case familyIPv6:
		if len(b) < 24 {
			return false
		}
		address = netip.AddrFrom16([16]byte(b[8:24])).Unmap()
	default:
		return false
	}
	from := len(p.room)
	p.room = address.AppendTo(p.room)
	k.address = p.room[from:len(p.room):len(p.room)]
	from = len(p.room)
	p.room = strconv.AppendUint(p.room, uint64(binary.BigEndian.Uint16(b[2:])), 10)
	k.port = p.room[from:len(p.room):len(p.room)]
	return true
}
