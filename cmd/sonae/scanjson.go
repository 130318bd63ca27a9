package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
)

// maxLine bounds a line of JSON.
const maxLine = 4 << 20

func isJSON(head []byte) bool {
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	return bytes.HasPrefix(bytes.TrimSpace(head), []byte("{"))
}

// lines matches one event per line. A line that cannot be read is left out;
// the error tells the first of them and how many there are.
func (s *scan) lines(path string, r io.Reader) error {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 64<<10), maxLine)
	var first error
	bad := 0
	at := foundSource{Path: path, Kind: kindJSON}
	for at.Record = 1; in.Scan() && s.ctx.Err() == nil; at.Record++ {
		text := bytes.TrimSpace(bytes.TrimPrefix(in.Bytes(), []byte("\xef\xbb\xbf")))
		if len(text) == 0 {
			continue
		}
		e, err := readEvent(text)
		if err != nil {
			if bad++; bad == 1 {
				first = fmt.Errorf("line %d: %w", at.Record, err)
			}
			continue
		}
		if e.ID == "" {
			e.ID = fmt.Sprintf("%s#%d", path, at.Record)
		}
		s.stats.Events++
		for _, d := range s.engine.Match(event.Batch{Events: []event.Event{e}}) {
			s.found(d, at, nil)
		}
	}
	if bad > 1 {
		first = fmt.Errorf("%w (and %d more lines)", first, bad-1)
	}
	if err := in.Err(); err != nil {
		first = errors.Join(first, fmt.Errorf("line %d: %w", at.Record, err))
	}
	return errors.Join(first, s.ctx.Err())
}

// readEvent reads an event as Sonae writes it, or any flat object.
func readEvent(text []byte) (event.Event, error) {
	var e event.Event
	var probe struct {
		Fields map[string]string `json:"fields"`
		Kind   event.Kind        `json:"kind"`
	}
	if err := json.Unmarshal(text, &probe); err == nil && (probe.Fields != nil || probe.Kind != "") {
		if err := json.Unmarshal(text, &e); err != nil {
			return e, err
		}
		return e, nil
	}
	return flatEvent(text)
}

// Names under which foreign programs write what an event needs, the first
// that is there counts.
var (
	timeNames    = []string{"time", "@timestamp", "timestamp", "UtcTime", "TimeCreated", "EventTime", "ts"}
	hostNames    = []string{"host", "hostname", "Hostname", "Computer", "computer"}
	productNames = []string{"product", "Product"}
	kindNames    = []string{"category", "Category"}
	serviceNames = []string{"service", "Service"}
	timeFormats  = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05.999999999Z0700"}
)

// flatEvent makes an event of any JSON object: its values become the fields
// that rules look at, objects inside it with a point between the names.
func flatEvent(text []byte) (event.Event, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var values map[string]any
	if err := d.Decode(&values); err != nil {
		return event.Event{}, err
	}
	if d.More() {
		return event.Event{}, errors.New("something follows the object")
	}
	e := event.Event{Kind: event.KindLog, Fields: map[string]string{}, Raw: string(text)}
	flatten("", values, e.Fields)
	first := func(names []string) string {
		for _, n := range names {
			if v := e.Fields[n]; v != "" {
				return v
			}
		}
		return ""
	}
	e.Host, e.Product, e.Category, e.Service = first(hostNames), first(productNames), first(kindNames), first(serviceNames)
	windows(&e)
	for _, form := range timeFormats {
		if at, err := time.Parse(form, first(timeNames)); err == nil {
			e.Time = at.UTC()
			break
		}
	}
	return e, nil
}

func flatten(prefix string, values map[string]any, into map[string]string) {
	for name, v := range values {
		switch v := v.(type) {
		case nil:
		case map[string]any:
			flatten(prefix+name+".", v, into)
		case string:
			into[prefix+name] = v
		case []any:
			b, err := json.Marshal(v)
			if err == nil { // it was JSON a moment ago
				into[prefix+name] = string(b)
			}
		default:
			into[prefix+name] = fmt.Sprint(v)
		}
	}
}

// channels maps the Windows channels that rules are written for to Sigma's
// services.
var channels = map[string]string{
	"microsoft-windows-sysmon/operational": "sysmon", "security": "security", "system": "system", "application": "application",
	"microsoft-windows-powershell/operational": "powershell", "windows powershell": "powershell-classic",
}

// sysmonKinds maps the event numbers of Sysmon to Sigma's categories.
var sysmonKinds = map[string]string{
	"1": "process_creation", "2": "file_change", "3": "network_connection", "5": "process_termination", "6": "driver_load",
	"7": "image_load", "8": "create_remote_thread", "9": "raw_access_thread", "10": "process_access", "11": "file_event",
	"12": "registry_event", "13": "registry_set", "14": "registry_rename", "15": "create_stream_hash", "17": "pipe_created",
	"18": "pipe_created", "19": "wmi_event", "20": "wmi_event", "21": "wmi_event", "22": "dns_query", "23": "file_delete",
	"25": "process_tampering", "26": "file_delete", "29": "file_executable_detected",
}

// windows gives exported Windows events their log source.
func windows(e *event.Event) {
	channel := e.Fields["Channel"]
	if channel == "" || e.Product != "" {
		return
	}
	e.Product, e.Service = "windows", channels[strings.ToLower(channel)]
	id := e.Fields["EventID"]
	switch {
	case e.Service == "sysmon":
		e.Category = sysmonKinds[id]
	case e.Service == "security" && id == "4688":
		e.Category = "process_creation"
		rename(e.Fields, "Image", "NewProcessName")
		rename(e.Fields, "ParentImage", "ParentProcessName")
	}
}

func rename(fields map[string]string, to, from string) {
	if v, ok := fields[from]; ok && fields[to] == "" {
		fields[to] = v
	}
}
