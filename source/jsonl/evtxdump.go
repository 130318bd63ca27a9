package jsonl

import (
	"bytes"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/windows"
)

// How evtx_dump writes XML as JSON: attributes lie in an object beside the
// text of their element, or with an option in an object beside the element.
var (
	eventAttributes = []byte("Event_attributes.")
	attributes      = []byte("#attributes.")
	beside          = []byte("_attributes.")
	textOf          = []byte(".#text")
	system          = []byte("System.")
	eventData       = []byte("EventData.")
	userData        = []byte("UserData.")
	xmlns           = []byte("xmlns")
)

// evtxDump completes an event as evtx_dump writes it, with the names that
// package evtx gives the same event.
func (s *shaper) evtxDump(r *event.Record) {
	kept := r.Pairs[:0]
	r.Host = s.opt.Host
	for _, p := range r.Pairs {
		if p.Name = s.element(p.Name); p.Name == nil {
			continue
		}
		kept = append(kept, p)
		switch string(p.Name) {
		case "TimeCreated_SystemTime":
			if r.Time.IsZero() {
				r.Time, _ = source.Time(p.Value, time.UTC)
			}
		case "Computer":
			if len(p.Value) > 0 {
				r.Host = s.names.Of(s.plain(&p))
			}
		}
	}
	r.Pairs = kept
	s.unblank(r)
	windows.Complete(r)
}

// element turns the path of a value into the name that rules use; nil when it
// is about the XML and not about the event.
func (s *shaper) element(path []byte) []byte {
	path = bytes.TrimSuffix(path, textOf)
	if bytes.HasPrefix(path, eventAttributes) || !bytes.HasPrefix(path, eventPrefix) {
		return nil
	}
	path = path[len(eventPrefix):]
	switch {
	case bytes.HasPrefix(path, eventData):
		path = path[len(eventData):]
		if bytes.HasPrefix(path, attributes) {
			return nil
		}
		if bytes.IndexByte(path, '#') < 0 {
			return path
		}
		return s.attribute(path)
	case bytes.HasPrefix(path, system):
		return s.attribute(path[len(system):])
	case bytes.HasPrefix(path, userData):
		path = path[len(userData):]
		if i := lastElement(path); i >= 0 {
			path = path[i:]
		}
		return s.attribute(path)
	}
	return s.attribute(path)
}

// lastElement returns where the last element of a path begins, with its
// attribute.
func lastElement(path []byte) int {
	end := len(path)
	if i := bytes.Index(path, attributes); i > 0 {
		end = i - 1
	}
	if end <= 0 {
		return -1
	}
	return bytes.LastIndexByte(path[:end], '.') + 1
}

// attribute writes Element_Attribute for an attribute.
func (s *shaper) attribute(path []byte) []byte {
	element, name, found := bytes.Cut(path, attributes)
	if found {
		element = bytes.TrimSuffix(element, dot)
	} else if element, name, found = bytes.Cut(path, beside); !found {
		return path
	}
	if len(element) == 0 || bytes.HasPrefix(name, xmlns) {
		return nil
	}
	from := len(s.p.names)
	s.p.names = append(append(append(s.p.names, element...), '_'), name...)
	return s.p.names[from:len(s.p.names):len(s.p.names)]
}

// winlogs are the names of Winlogbeat that rules know under another one.
var winlogs = []struct{ from, to []byte }{
	{[]byte("winlog.event_data."), nil},
	{[]byte("winlog.user_data."), nil},
	{[]byte("winlog.channel"), []byte("Channel")},
	{[]byte("winlog.event_id"), []byte("EventID")},
	{[]byte("winlog.computer_name"), []byte("Computer")},
	{[]byte("winlog.provider_name"), []byte("Provider_Name")},
	{[]byte("winlog.provider_guid"), []byte("Provider_Guid")},
	{[]byte("winlog.record_id"), []byte("EventRecordID")},
	{[]byte("winlog.process.pid"), []byte("Execution_ProcessID")},
	{[]byte("winlog.process.thread.id"), []byte("Execution_ThreadID")},
	{[]byte("winlog.user.identifier"), []byte("Security_UserID")},
}

var winlog = []byte("winlog.")

// winlogbeat completes an event as Winlogbeat or the Elastic agent writes it.
// What lies outside "winlog" keeps its name.
func (s *shaper) winlogbeat(r *event.Record) {
	for i := range r.Pairs {
		name := r.Pairs[i].Name
		if !bytes.HasPrefix(name, winlog) {
			continue
		}
		for _, w := range winlogs {
			if w.to == nil && bytes.HasPrefix(name, w.from) {
				r.Pairs[i].Name = name[len(w.from):]
			} else if bytes.Equal(name, w.from) {
				r.Pairs[i].Name = w.to
			}
		}
	}
	s.windows(r)
}
