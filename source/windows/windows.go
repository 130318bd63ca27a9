// Package windows knows what Sigma calls the events of Windows.
//
// In: channel, provider and event id, or a record that carries them as pairs.
// Out: product, service, categories, and the few pairs that rules expect under
// another name. Always true: nothing is allocated for a channel that is known,
// nothing that the record says itself is replaced, and the slices handed out
// are shared and must not be changed.
//
// The names of channels are Microsoft's, those of services and categories
// Sigma's; which belongs to which follows the log source configuration that
// SigmaHQ publishes with its rules.
package windows

import "github.com/sonae/sonae/event"

// Product is what Sigma calls Windows.
const Product = "windows"

// Source returns the service and the categories of an event. The channel
// decides; case does not matter. Where the channel says nothing (it is empty,
// unknown, or ForwardedEvents, where some collectors put the name of the log
// they wrote to) the provider decides. Both are UTF-8; both results may be
// empty.
func Source(channel, provider []byte, eventID int) (service string, categories []string) {
	var room [96]byte
	service, known := services[string(lower(room[:0], channel))]
	if !known {
		service = providers[string(lower(room[:0], provider))]
	}
	if service == "" {
		return "", nil
	}
	return service, categoriesOf(service, eventID)
}

// lower appends name in lower case. Names of channels are ASCII.
func lower(dst, name []byte) []byte {
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// Complete sets Product, Service and Categories of r from its pairs and adds
// the pairs that rules look for under another name. A record that names
// neither channel nor provider is left as it is.
func Complete(r *event.Record) {
	var f found
	for i := range r.Pairs {
		f.note(r.Pairs[i].Name, i+1)
	}
	alias(r, "Provider_Name", &f.provider, f.sourceName)
	alias(r, "Computer", &f.computer, f.hostname)
	if f.channel == 0 && f.provider == 0 {
		return
	}
	var channel, provider, id [96]byte
	number := atoi(text(id[:0], r, f.eventID))
	r.Product = Product
	r.Service, r.Categories = Source(text(channel[:0], r, f.channel), text(provider[:0], r, f.provider), number)
	switch {
	case r.Service == "security" && number == 4688:
		alias(r, "Image", &f.image, f.newProcess)
		alias(r, "ParentImage", &f.parentImage, f.parentProcess)
	case r.Service == "windefend" && len(r.Categories) > 0:
		alias(r, "Signature", &f.signature, f.threat)
		alias(r, "Filename", &f.filename, f.path)
	}
}

// found says where the first pair of each name stands, counted from 1.
type found struct {
	channel, provider, sourceName, eventID, computer, hostname int
	image, parentImage, newProcess, parentProcess              int
	signature, threat, filename, path                          int
}

func (f *found) note(name []byte, at int) {
	to := f.place(name)
	if to != nil && *to == 0 {
		*to = at
	}
}

func (f *found) place(name []byte) *int {
	switch string(name) {
	case "Channel":
		return &f.channel
	case "Provider_Name":
		return &f.provider
	case "SourceName":
		return &f.sourceName
	case "EventID":
		return &f.eventID
	case "Computer":
		return &f.computer
	case "Hostname":
		return &f.hostname
	case "Image":
		return &f.image
	case "ParentImage":
		return &f.parentImage
	case "NewProcessName":
		return &f.newProcess
	case "ParentProcessName":
		return &f.parentProcess
	case "Signature":
		return &f.signature
	case "ThreatName":
		return &f.threat
	case "Filename":
		return &f.filename
	case "Path":
		return &f.path
	}
	return nil
}

// alias gives the pair at from a second name, unless there is none or the
// record has a pair of that name.
func alias(r *event.Record, name string, at *int, from int) {
	if *at != 0 || from == 0 {
		return
	}
	p := r.Pairs[from-1]
	r.Add(names[name], p.Value, p.Enc)
	*at = len(r.Pairs)
}

func text(dst []byte, r *event.Record, at int) []byte {
	if at == 0 {
		return nil
	}
	return r.Pairs[at-1].AppendText(dst)
}

// atoi reads a decimal number, -1 where there is none.
func atoi(digits []byte) int {
	n := -1
	for _, c := range digits {
		if c < '0' || c > '9' || n > 1<<24 {
			return -1
		}
		n = max(n, 0)*10 + int(c-'0')
	}
	return n
}
