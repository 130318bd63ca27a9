package scan

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/evtx"
	"github.com/sonae/sonae/source/sniff"
)

var errUnknown = errors.New("nothing that Sonae reads")

// Kinds that have names or readers of their own here.
const (
	kindEVTX  = "evtx"
	kindJSONL = "jsonl" // everything that is written in objects
)

// format tells what a file is by its first bytes, unless the format is forced.
// A capture has no reader: its packets go through package flow.
func (r *run) format(head []byte) (kind string, read source.Reader, err error) {
	kind = r.opt.Kind
	if kind == "" {
		if kind, err = detected(head); err != nil {
			return "", nil, err
		}
	}
	switch kind {
	case kindPcap, kindPcapng:
		return kind, nil, nil
	case kindEVTX:
		return kind, readEVTX, nil
	}
	read, ok := sniff.Reader(formatOf(kind))
	if !ok {
		return "", nil, fmt.Errorf("%w: there is no format %q", errUnknown, kind)
	}
	return kind, read, nil
}

// detected is the kind of what begins with head.
func detected(head []byte) (string, error) {
	if kind := captureKind(head); kind != "" {
		return kind, nil
	}
	if evtx.Sniff(head) {
		return kindEVTX, nil
	}
	f, err := sniff.Detect(head)
	var unknown *sniff.Unknown
	switch {
	case errors.As(err, &unknown):
		return "", fmt.Errorf("%w: it looks like %s", errUnknown, unknown.Looks)
	case err != nil:
		return "", fmt.Errorf("%w: %w", errUnknown, err)
	}
	return kindOf(f), nil
}

func kindOf(f sniff.Format) string {
	if f == sniff.JSON {
		return kindJSONL
	}
	return string(f)
}

func formatOf(kind string) sniff.Format {
	if kind == kindJSONL {
		return sniff.JSON
	}
	return sniff.Format(kind)
}

// Kinds are the formats that --kind can force.
func Kinds() []string {
	all := []string{kindEVTX}
	for _, f := range sniff.Formats() {
		if f != sniff.EVTX {
			all = append(all, kindOf(f))
		}
	}
	return append(all, kindPcap, kindPcapng)
}

// recordName is what a record of a format is called.
func recordName(kind string) string {
	switch kind {
	case kindPcap, kindPcapng:
		return "packet"
	case kindEVTX, string(sniff.WinXML):
		return "record"
	}
	return "line"
}

// readEVTX is evtx.Read as a source.Reader.
func readEVTX(ctx context.Context, r io.Reader, _ source.Options, each func(*event.Record) error) (source.Report, error) {
	got, err := evtx.Read(ctx, r, evtx.Options{MaxDamage: source.MaxBad}, each)
	return evtxReport(got), err
}

func evtxReport(got evtx.Report) source.Report {
	rep := source.Report{Records: uint64(got.Records), Bytes: uint64(got.Bytes)}
	for _, d := range got.Damage {
		rep.Damaged(d.Record, d.Offset, d.Reason)
	}
	rep.BadTotal = uint64(got.Damaged)
	return rep
}
