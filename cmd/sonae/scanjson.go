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
		line := bytes.TrimSpace(bytes.TrimPrefix(in.Bytes(), []byte("\xef\xbb\xbf")))
		if len(line) == 0 {
			continue
		}
		e, kinds, err := readEvent(line)
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
		s.match(e, kinds, at)
	}
	if bad > 1 {
		first = fmt.Errorf("%w (and %d more lines)", first, bad-1)
	}
	if err := in.Err(); err != nil {
		first = errors.Join(first, fmt.Errorf("line %d: %w", at.Record, err))
	}
	return errors.Join(first, s.ctx.Err())
}

// match matches an event once in each of its categories: rules are written
// for one of them, and some events belong to several.
func (s *scan) match(e event.Event, kinds []string, at foundSource) {
	if len(kinds) == 0 {
		kinds = []string{e.Category}
	}
	told := map[string]bool{}
	for _, kind := range kinds {
		e.Category = kind
		for _, d := range s.engine.Match(event.Batch{Events: []event.Event{e}}) {
			if !told[d.ID] {
				told[d.ID] = true
				s.found(d, at, nil)
			}
		}
	}
}

// readEvent reads an event as Sonae writes it, or any flat object. Categories
// are more than none when there are several.
func readEvent(line []byte) (e event.Event, categories []string, err error) {
	var probe struct {
		Fields map[string]string `json:"fields"`
		Kind   event.Kind        `json:"kind"`
	}
	if err := json.Unmarshal(line, &probe); err == nil && (probe.Fields != nil || probe.Kind != "") {
		err := json.Unmarshal(line, &e)
		return e, nil, err
	}
	return flatEvent(line)
}

// Names under which foreign programs write what an event needs, the first
// that is there counts.
var (
	timeNames   = []string{"time", "@timestamp", "timestamp", "UtcTime", "TimeCreated", "EventTime", "ts"}
	hostNames   = []string{"host", "hostname", "Hostname", "Computer", "computer"}
	timeFormats = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05.999999999Z0700"}
)

// flatEvent makes an event of any JSON object: its values become the fields
// that rules look at, objects inside it with a point between the names.
func flatEvent(line []byte) (event.Event, []string, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var values map[string]any
	if err := d.Decode(&values); err != nil {
		return event.Event{}, nil, err
	}
	if d.More() {
		return event.Event{}, nil, errors.New("something follows the object")
	}
	e := event.Event{Kind: event.KindLog, Fields: map[string]string{}, Raw: string(line)}
	flatten("", values, e.Fields)
	first := func(names []string) string {
		for _, n := range names {
			if v := e.Fields[n]; v != "" {
				return v
			}
		}
		return ""
	}
	e.Host = first(hostNames)
	e.Product, e.Category, e.Service = e.Fields["product"], e.Fields["category"], e.Fields["service"]
	kinds := windows(&e)
	for _, form := range timeFormats {
		if at, err := time.Parse(form, first(timeNames)); err == nil {
			e.Time = at.UTC()
			break
		}
	}
	return e, kinds, nil
}

// maxDepth bounds how deep objects are taken apart: names grow with depth.
const maxDepth = 16

func flatten(prefix string, values map[string]any, into map[string]string) {
	deep := strings.Count(prefix, ".") >= maxDepth
	for name, v := range values {
		name = strings.ReplaceAll(name, " ", "") // rules write the names of Windows without
		switch v := v.(type) {
		case nil:
		case map[string]any:
			if deep {
				into[prefix+name] = text(v)
				continue
			}
			flatten(prefix+name+".", v, into)
		case string:
			into[prefix+name] = v
		case []any:
			into[prefix+name] = text(v)
		default:
			into[prefix+name] = fmt.Sprint(v)
		}
	}
}

// text writes down what was JSON a moment ago.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("scan: encode %T: %v", v, err)) // decoded values always encode
	}
	return string(b)
}
