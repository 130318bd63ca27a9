package scan

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/baseline"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

// maxMembers bounds how many members of one archive are told apart.
const maxMembers = 1 << 24

// worker reads one file after the other.
type worker struct {
	run     *run
	ctx     context.Context
	matcher *detect.Matcher
	seen    *counting

	place      uint64 // of the file, times maxMembers, plus its member
	input      *Input
	at         Source // where the record at hand stands
	hits       []detect.Hit
	habits     *baseline.Watch // of the hosts in the file at hand, nil until there is one
	aside      *sorter         // what hosts did, where several read one file; else nil
	stats      Stats
	outside    uint64
	untimed    uint64
	suppressed uint64
	broken     error // findings could not be kept: the run is over
}

func newWorker(r *run, ctx context.Context) *worker {
	return &worker{run: r, ctx: ctx, matcher: r.opt.Engine.NewMatcher(), seen: newCounting()}
}

// done hands over what the worker counted.
func (w *worker) done() {
	r := w.run
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Files += w.stats.Files
	r.stats.Events += w.stats.Events
	r.stats.Packets += w.stats.Packets
	r.stats.Bytes += w.stats.Bytes
	r.outside += w.outside
	r.untimed += w.untimed
	r.suppressed += w.suppressed
	r.seen.merge(w.seen)
}

// file reads one file and everything that is packed in it. Its error ends the
// run; what is wrong with the file is only noted.
func (w *worker) file(place uint64, f file) error {
	w.place = place * maxMembers
	w.input = &Input{Path: f.path, Size: f.size}
	err := w.open(f)
	switch {
	case w.broken != nil:
		return w.broken
	case errors.Is(err, errUnknown) && !f.named && !callsItselfLog(f.path):
		w.note(w.run.leftOut, f.path, err)
	case err != nil && !errors.Is(err, errStopped):
		w.note(w.run.damaged, f.path, err)
	}
	return nil
}

// callsItselfLog says whether the name promises something that Sonae reads:
// when that is not inside, the file is damaged and not just another one.
func callsItselfLog(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".evtx", ".jsonl", ".ndjson", ".pcap", ".pcapng":
		return true
	}
	return false
}

func (w *worker) note(into map[uint64][]Problem, path string, err error) {
	w.run.mu.Lock()
	defer w.run.mu.Unlock()
	place := w.place / maxMembers
	if len(into[place]) < maxProblems {
		into[place] = append(into[place], Problem{path, err})
	}
}

func (w *worker) open(f file) (err error) {
	// A reader that trips over a file must not take the others' findings along.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a mistake of Sonae, please report it: %v", p)
		}
	}()
	if f.path == Stdin {
		return w.stdin()
	}
	in, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer in.Close()
	u := &unpacker{limits: w.run.opt.Limits, tmp: w.run.opt.TempDir, leaf: w.leaf, failed: w.member}
	before := w.stats.Events
	err = u.file(in, f.path, func(n int) { w.run.opt.Progress.read.Add(int64(n)) })
	w.run.opt.Progress.skip(f.size - u.in)
	w.stats.Bytes += u.in
	w.input.Events = w.stats.Events - before
	if len(w.input.Kinds) > 0 || f.size == 0 {
		w.stats.Files++
	}
	return errors.Join(err, w.keep(in))
}

// stdin reads standard input, once and from its beginning to its end.
func (w *worker) stdin() error {
	if w.run.opt.Stdin == nil {
		return errors.New("there is no standard input")
	}
	h := sha256.New()
	in := io.Reader(w.run.opt.Stdin)
	if w.run.opt.Hash {
		in = io.TeeReader(in, h)
	}
	u := &unpacker{limits: w.run.opt.Limits, tmp: w.run.opt.TempDir, leaf: w.leaf, failed: w.member}
	before := w.stats.Events
	counted := &counter{r: in, add: func(n int) { u.in += int64(n); w.run.opt.Progress.read.Add(int64(n)) }}
	err := u.stream(bufio.NewReaderSize(counted, peek), Stdin, depth{})
	if err == nil || w.run.opt.Hash { // what follows the end of a format belongs to the input
		_, e := io.Copy(io.Discard, counted)
		err = errors.Join(err, e)
	}
	w.stats.Bytes += u.in
	w.input.Events, w.input.Size = w.stats.Events-before, u.in
	if len(w.input.Kinds) > 0 || u.in == 0 {
		w.stats.Files++
	}
	if w.run.opt.Hash {
		w.input.SHA256 = hex.EncodeToString(h.Sum(nil))
	}
	w.run.mu.Lock()
	defer w.run.mu.Unlock()
	w.run.inputs[w.place/maxMembers] = *w.input
	return err
}

// keep remembers the file, with its digest where one is wanted.
func (w *worker) keep(in *os.File) error {
	var err error
	if w.run.opt.Hash && len(w.input.Kinds) > 0 && w.ctx.Err() == nil {
		h := sha256.New()
		if _, err = in.Seek(0, io.SeekStart); err == nil {
			_, err = io.Copy(h, in)
		}
		if err == nil {
			w.input.SHA256 = hex.EncodeToString(h.Sum(nil))
		}
	}
	w.run.mu.Lock()
	defer w.run.mu.Unlock()
	w.run.inputs[w.place/maxMembers] = *w.input
	return err
}

// member notes what is wrong with a member of an archive.
func (w *worker) member(name string, err error) {
	if errors.Is(err, errUnknown) && !callsItselfLog(name) {
		w.note(w.run.leftOut, name, err)
		return
	}
	w.note(w.run.damaged, name, err)
}

// leaf reads what is not packed any further.
func (w *worker) leaf(name string, r *bufio.Reader) error {
	head, err := r.Peek(peek)
	if len(head) == 0 {
		if err == nil || errors.Is(err, io.EOF) { // an empty file holds nothing, whatever it is
			return nil
		}
		return err
	}
	kind, read, err := w.run.format(head)
	if err != nil {
		return err
	}
	if !slices.Contains(w.input.Kinds, kind) {
		w.input.Kinds = append(w.input.Kinds, kind)
	}
	w.place++
	w.habits = nil
	w.at = Source{Path: name, Kind: kind}
	switch {
	case read == nil:
		return w.stop(w.capture(r))
	case w.input.Size < w.run.opt.BigLog || w.run.opt.Jobs < 2:
	case kind == kindEVTX:
		return w.chunked(r)
	case kind == kindJSONL:
		return w.together(func() error { return w.pieces(r, read) })
	}
	rep, err := read(w.ctx, r, w.run.opt.Source, w.record)
	return errors.Join(bad(kind, rep), w.stop(err))
}

// stop names a cancelled context as what it is.
func (w *worker) stop(err error) error {
	if err != nil && (w.ctx.Err() != nil || w.broken != nil) {
		return errStopped
	}
	return err
}

// bad says in one line what a reader could not read.
func bad(kind string, rep source.Report) error {
	if rep.BadTotal == 0 {
		return nil
	}
	first := rep.Bad[0]
	more := ""
	if rep.BadTotal > 1 {
		more = fmt.Sprintf(" (and %d more places)", rep.BadTotal-1)
	}
	if first.Number == 0 {
		return fmt.Errorf("offset %d: %s%s", first.Offset, first.Reason, more)
	}
	return fmt.Errorf("%s %d at offset %d: %s%s", recordName(kind), first.Number, first.Offset, first.Reason, more)
}

// record matches one event.
func (w *worker) record(r *event.Record) error {
	if w.stats.Events%source.CheckEvery == 0 && w.ctx.Err() != nil {
		return errStopped
	}
	w.stats.Events++
	w.run.opt.Progress.events.Add(1)
	w.seen.add(r)
	if !w.inTime(r) {
		return nil
	}
	w.at.Record = r.Number
	return w.match(r)
}

// inTime applies --since and --until.
func (w *worker) inTime(r *event.Record) bool {
	o := &w.run.opt
	if r.Time.IsZero() {
		if !o.Since.IsZero() || !o.Until.IsZero() {
			w.untimed++
		}
		return true
	}
	if !o.Since.IsZero() && r.Time.Before(o.Since) || !o.Until.IsZero() && !r.Time.Before(o.Until) {
		w.outside++
		return false
	}
	return true
}

// match runs the rules over a record.
func (w *worker) match(r *event.Record) error {
	w.hits = w.hits[:0]
	w.matcher.Match(r, func(h detect.Hit) { w.hits = append(w.hits, h) })
	if len(w.hits) > 0 {
		if w.broken = w.hit(r.Event(w.at.id()), nil); w.broken != nil {
			return w.broken
		}
	}
	if err := w.connected(r, w.hits); err != nil {
		return err
	}
	if err := w.listed(r); err != nil {
		return err
	}
	o, ok := baseline.OfRecord(r, w.at.id())
	return w.watch(o, ok, nil)
}

// hit keeps the findings, and what correlations count.
func (w *worker) hit(e event.Event, about *Flow) error {
	for _, h := range w.hits {
		if h.Suppressed {
			w.suppressed++
		}
		if h.Counted {
			if err := w.run.keepCounted(w.place, w.at, detect.Match{Rule: h.Rule.ID, Event: e}, about); err != nil {
				return err
			}
		}
		if h.Alone {
			if err := w.run.found(w.place, w.at, h.Rule.ID, h.Level, e, about); err != nil {
				return err
			}
		}
	}
	return nil
}
