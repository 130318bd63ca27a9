package scan

import (
	"errors"

	"github.com/sonae/sonae/source"
)

var errUnknown = errors.New("nothing that Sonae reads")

// format tells what a file is by its first bytes, unless the format is forced.
// A capture has no reader: its packets go through package flow.
func (r *run) format(head []byte) (kind string, read source.Reader, err error) {
	if kind := captureKind(head); kind != "" && (r.opt.Kind == "" || r.opt.Kind == kind) {
		return kind, nil, nil
	}
	if isJSON(head) {
		return "jsonl", readJSON, nil
	}
	return "", nil, errUnknown
}

// recordName is what a record of a format is called.
func recordName(kind string) string {
	switch kind {
	case kindPcap, kindPcapng:
		return "packet"
	case "evtx":
		return "record"
	}
	return "line"
}

// Kinds are the formats that --kind can force.
func Kinds() []string { return []string{kindPcap, kindPcapng, "jsonl"} }
