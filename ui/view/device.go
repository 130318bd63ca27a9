package view

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
)

// DevicesData is what can block in the network, and what sites allow.
type DevicesData struct {
	Gateways []asset.Host
	Devices  []device.Device
	Sites    []asset.Site
	Limits   []action.Limits // one for each of Sites
	Cuts     []string        // how each of Sites is cut, as people enter it
}

// carriers are who can carry out a block at a site.
func (d DevicesData) carriers(site string) [][2]string {
	var out [][2]string
	for _, h := range d.Gateways {
		if h.Site == site {
			out = append(out, [2]string{h.ID, h.Name})
		}
	}
	for _, v := range d.Devices {
		if v.Site == site {
			out = append(out, [2]string{v.ID, v.Name})
		}
	}
	return out
}

// DeviceData is one device, or a new one of a means.
type DeviceData struct {
	Device device.Device
	Sites  []asset.Site
	List   string // address at which its list is fetched
}

// BlockData is the preview of a block that somebody may request.
type BlockData struct {
	Incident   incident.Incident
	Host       asset.Host // zero: by address
	Carriers   [][2]string
	Via        string
	Targets    string
	Reason     string
	Lease      time.Duration
	Plan       *action.Action // nil when it cannot be planned, the fault says why
	NoApprover bool
}

// isSNMP says whether a means is a switch that is told by SNMP.
func isSNMP(m action.Means) bool { return m == action.PortDown || m == action.VLAN }

func isRADIUS(m action.Means) bool { return m == action.Disconnect || m == action.CoA }

// ProtectedText writes what is never blocked as people enter it: one address a
// line, with the reason behind it.
func ProtectedText(list []action.Protected) string {
	var b strings.Builder
	for _, p := range list {
		b.WriteString(p.What + " " + p.Why + "\n")
	}
	return b.String()
}

// ParseProtected reads ProtectedText.
func ParseProtected(text string) []action.Protected {
	var out []action.Protected
	for line := range strings.Lines(text) {
		what, why, _ := strings.Cut(strings.Join(strings.Fields(line), " "), " ")
		if what != "" {
			out = append(out, action.Protected{What: what, Why: why})
		}
	}
	return out
}

// HookText writes a request as people enter it: the method and the address in
// the first line, headers, an empty line, the body.
func HookText(r device.Request) string {
	if r.URL == "" {
		return ""
	}
	return r.Method + " " + r.URL + "\n" + strings.Join(append(slices.Clone(r.Headers), "", r.Body), "\n")
}

// ParseHook reads HookText.
func ParseHook(text string) device.Request {
	head, body, _ := strings.Cut(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	method, url, _ := strings.Cut(strings.TrimSpace(lines[0]), " ")
	r := device.Request{Method: strings.ToUpper(method), URL: strings.TrimSpace(url), Body: strings.TrimRight(body, "\n")}
	if r.URL == "" {
		return device.Request{}
	}
	for _, l := range lines[1:] {
		if l = strings.TrimSpace(l); l != "" {
			r.Headers = append(r.Headers, l)
		}
	}
	return r
}

// Numbers writes numbers with spaces between; ParseNumbers reads them, zero
// for what is none.
func Numbers(list []int) string {
	var out []string
	for _, n := range list {
		out = append(out, strconv.Itoa(n))
	}
	return strings.Join(out, " ")
}

// ParseNumbers reads Numbers.
func ParseNumbers(text string) []int {
	var out []int
	for _, f := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '、' || r == '\n' || r == '\r' }) {
		n, _ := strconv.Atoi(f) // zero is no interface
		out = append(out, n)
	}
	return out
}

func whole(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
