package scan

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/evtx"
	"github.com/sonae/sonae/source/jsonl"
)

var errUnknown = errors.New("nothing that Sonae reads")

// Kinds of logs.
const (
	kindEVTX = "evtx"
	kindJSON = "jsonl"
)

// format tells what a file is by its first bytes, unless the format is forced.
// A capture has no reader: its packets go through package flow.
func (r *run) format(head []byte) (kind string, read source.Reader, err error) {
	if kind := captureKind(head); kind != "" && (r.opt.Kind == "" || r.opt.Kind == kind) {
		return kind, nil, nil
	}
	if evtx.Sniff(head) {
		return kindEVTX, readEVTX, nil
	}
	if isJSON(head) {
		return kindJSON, jsonl.Read, nil
	}
	return "", nil, errUnknown
}

func isJSON(head []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(head), []byte("{")) }

// Kinds are the formats that --kind can force.
func Kinds() []string { return []string{kindPcap, kindPcapng, kindEVTX, kindJSON} }

// recordName is what a record of a format is called.
func recordName(kind string) string {
	switch kind {
	case kindPcap, kindPcapng:
		return "packet"
	case kindEVTX:
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
