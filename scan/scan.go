package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

// Options say what to scan. Paths and Engine are needed, the rest may be zero.
type Options struct {
	Paths    []string
	Stdin    io.Reader      // what the path Stdin means
	Engine   *detect.Engine // its counting rules begin at zero
	Kind     string         // format of all files, see Kinds; "" finds out for each
	MinLevel event.Severity
	Since    time.Time // events before are left out, those without a time are not
	Until    time.Time // events from then on, likewise
	Flows    bool      // keep every connection of a capture, too
	Hash     bool      // SHA-256 of every file that was read
	Jobs     int       // files read at once, 0 for one a core
	TempDir  string    // for what does not fit into memory
	Memory   int       // bytes of findings kept in memory, 0 for 32 MiB
	BigLog   int64     // size from which one event log, or log of JSON lines, is read by several cores, 0 for 32 MiB
	Limits   Limits
	Source   source.Options
	Lists    *ioc.Set  // threat lists, may be nil
	Progress *Progress // told while it runs, may be nil
}

// errStopped says that whoever asked wants no more.
var errStopped = errors.New("stopped before its end")

// Stats counts what was done.
type Stats struct {
	Files    int     `json:"files"`
	Events   uint64  `json:"events"`
	Packets  uint64  `json:"packets"`
	Findings int     `json:"findings"`
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"`
	Loaded   int     `json:"rules_loaded"`
	Rejected int     `json:"rules_rejected"`
}

// Problem is a file, or a member of an archive, about which something has to
// be said.
type Problem struct {
	Path string
	Err  error
}

// Result is what a scan found. It holds temporary files until Close.
type Result struct {
	Stats      Stats
	Damaged    []Problem // in the order of paths; at most maxProblems
	LeftOut    []Problem // files in a folder that are nothing Sonae reads
	Inputs     []Input   // every file that was opened
	Seen       []Seen    // log sources, by product, service, category
	Stopped    bool      // it ended before all files were read
	Outside    uint64    // events before Since or after Until
	Untimed    uint64    // events without a time, which a filter by time lets pass
	Suppressed uint64    // matches that adjustments leave out

	lines *sorter
	opt   Options
}

// Input is a file that was opened.
type Input struct {
	Path   string
	Kinds  []string // formats in it
	Size   int64
	SHA256 string // hex, with Options.Hash
	Events uint64
}

// maxProblems bounds the lists of problems; Stats and exit status know of all.
const maxProblems = 10000

// run is a scan at work.
type run struct {
	opt     Options
	ctx     context.Context
	lines   *sorter // lines, by path and record
	counted *sorter // events of counting rules, by time

	mu         sync.Mutex
	damaged    map[uint64][]Problem // by place of the file
	leftOut    map[uint64][]Problem
	inputs     map[uint64]Input
	seen       seen
	stats      Stats
	outside    uint64
	untimed    uint64
	suppressed uint64
}

// Run scans. An error means that the result is not whole for a reason that is
// no file's, such as a full disk; a cancelled ctx gives what was found so far.
func Run(ctx context.Context, opt Options) (*Result, error) {
	began := time.Now()
	opt.Limits = opt.Limits.orDefault()
	opt.Memory = cmp.Or(opt.Memory, 32<<20)
	opt.BigLog = cmp.Or(opt.BigLog, bigLog)
	opt.Jobs = cmp.Or(opt.Jobs, runtime.GOMAXPROCS(0))
	if opt.Progress == nil {
		opt.Progress = &Progress{}
	}
	r := &run{opt: opt, ctx: ctx, lines: newSorter(opt.TempDir, opt.Memory), counted: newSorter(opt.TempDir, opt.Memory),
		damaged: map[uint64][]Problem{}, leftOut: map[uint64][]Problem{}, inputs: map[uint64]Input{}, seen: seen{}}
	defer r.counted.close()
	files := r.files()
	err := r.all(files)
	if err == nil {
		err = r.count()
	}
	res := r.result()
	res.Stats.Seconds = time.Since(began).Seconds()
	if err != nil {
		_ = res.Close() // the first error counts
		return nil, err
	}
	return res, nil
}

// files lists what is to be read; what the walk has to say stands before it.
func (r *run) files() []file {
	note := func(into map[uint64][]Problem) func(string, error) {
		return func(path string, err error) { into[0] = append(into[0], Problem{path, err}) }
	}
	files := walk(r.ctx, r.opt.Paths, note(r.leftOut), note(r.damaged))
	for _, f := range files {
		r.opt.Progress.total.Add(f.size)
	}
	return files
}

// all reads the files, the largest first so that none is left for the end.
func (r *run) all(files []file) error {
	order := make([]int, len(files))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(files[b].size, files[a].size) })
	next := make(chan int)
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	for range min(r.opt.Jobs, len(files)) {
		wg.Go(func() {
			w := newWorker(r, ctx)
			defer w.done()
			for i := range next {
				if err := w.file(uint64(i+1), files[i]); err != nil {
					once.Do(func() { first = err; cancel() })
				}
			}
		})
	}
	for _, i := range order {
		select {
		case next <- i:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	wg.Wait()
	return first
}

func (r *run) result() *Result {
	res := &Result{Stats: r.stats, Damaged: ordered(r.damaged), LeftOut: ordered(r.leftOut), Seen: r.seen.list(),
		Stopped: r.ctx.Err() != nil, Outside: r.outside, Untimed: r.untimed, Suppressed: r.suppressed, lines: r.lines, opt: r.opt}
	res.Stats.Findings = int(r.opt.Progress.findings.Load())
	places := make([]uint64, 0, len(r.inputs))
	for at := range r.inputs {
		places = append(places, at)
	}
	slices.Sort(places)
	for _, at := range places {
		res.Inputs = append(res.Inputs, r.inputs[at])
	}
	return res
}

// ordered puts problems into the order of their files.
func ordered(by map[uint64][]Problem) []Problem {
	places := make([]uint64, 0, len(by))
	for at := range by {
		places = append(places, at)
	}
	slices.Sort(places)
	var all []Problem
	for _, at := range places {
		all = append(all, by[at]...)
	}
	return all
}

// Failed says whether something that was asked for could not be read.
func (r *Result) Failed() bool { return len(r.Damaged) > 0 || r.Stopped }

// Close removes the temporary files.
func (r *Result) Close() error {
	if err := r.lines.close(); err != nil {
		return fmt.Errorf("close the result: %w", err)
	}
	return nil
}
