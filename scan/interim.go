package scan

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/windows"
)

func isJSON(head []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(head), []byte("{")) }

func readJSON(ctx context.Context, r io.Reader, opt source.Options, each func(*event.Record) error) (source.Report, error) {
	var rep source.Report
	in := bufio.NewScanner(r)
	in.Buffer(nil, 4<<20)
	rec := &event.Record{}
	for n := uint64(1); in.Scan(); n++ {
		var m map[string]any
		if len(in.Bytes()) == 0 {
			continue
		}
		if err := json.Unmarshal(in.Bytes(), &m); err != nil {
			rep.Damaged(n, 0, err.Error())
			continue
		}
		rec.Reset()
		rec.Number = n
		if f, ok := m["fields"].(map[string]any); ok {
			for k, v := range f {
				m[k] = v
			}
		}
		flat("", m, rec)
		for _, k := range []string{"time", "@timestamp", "UtcTime"} {
			if v, ok := rec.Get(k); ok {
				rec.Time, _ = time.Parse(time.RFC3339Nano, v)
			}
		}
		rec.Host, _ = rec.Get("host")
		if h, ok := rec.Get("Hostname"); ok {
			rec.Host = h
		}
		rec.Product, _ = rec.Get("product")
		rec.Service, _ = rec.Get("service")
		if c, ok := rec.Get("category"); ok {
			rec.Categories = []string{c}
		}
		windows.Complete(rec)
		rep.Records++
		if err := each(rec); err != nil {
			return rep, err
		}
	}
	return rep, in.Err()
}

func flat(prefix string, m map[string]any, r *event.Record) {
	for k, v := range m {
		switch v := v.(type) {
		case nil:
		case map[string]any:
			flat(prefix+k+".", v, r)
		default:
			r.Add([]byte(prefix+k), []byte(fmt.Sprint(v)), event.Plain)
		}
	}
}
