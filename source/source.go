// Package source is what all readers of logs share: what they take, what they
// report, and how they go through text.
//
// In: bytes of a log. Out: event.Record, one after the other, and a Report.
// Always true: a reader holds a bounded part of its input in memory; a damaged
// place is reported with its number and offset and reading goes on behind it;
// nothing is allocated per event once the buffers have grown.
package source

import (
	"context"
	"io"
	"time"

	"github.com/sonae/sonae/event"
)

// Reader reads all of r and calls each for every event. The record and all it
// refers to are good until each returns; an error of each ends the reading and
// is returned as it is. What is damaged in r is in the Report and is no error;
// an error of r itself is returned beside the Report of what came before it.
type Reader func(ctx context.Context, r io.Reader, opt Options, each func(*event.Record) error) (Report, error)

// Options is what a log does not say about itself. The zero value is usable.
type Options struct {
	Now  time.Time      // when the log was taken: no line is much newer; finds the year of RFC 3164; zero leaves such lines without a time
	Zone *time.Location // of times that name no zone; nil means UTC
	Host string         // whose log it is, where the lines do not say it
}

// Location returns the zone for times that name none.
func (o Options) Location() *time.Location {
	if o.Zone == nil {
		return time.UTC
	}
	return o.Zone
}

// Report is how a reading went.
type Report struct {
	Records  uint64 // events handed over
	Bytes    uint64 // read, after decompression
	Bad      []Bad  // the first places that could not be read, at most MaxBad
	BadTotal uint64 // how many there were
}

// Bad is a place that could not be read.
type Bad struct {
	Number uint64 // record id of EVTX, else the line or packet, from 1
	Offset int64  // in bytes from the beginning, after decompression
	Reason string
}

// MaxBad bounds the list of bad places: the first hundred tell what is wrong.
const MaxBad = 100

// Damaged notes a place that could not be read.
func (r *Report) Damaged(number uint64, offset int64, reason string) {
	if r.BadTotal++; len(r.Bad) < MaxBad {
		r.Bad = append(r.Bad, Bad{number, offset, reason})
	}
}

// CheckEvery is after how many events a reader looks whether its context still
// holds.
const CheckEvery = 256
