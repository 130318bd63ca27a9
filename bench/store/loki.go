package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/sonae/sonae/archive/archivetest"
	"github.com/sonae/sonae/event"
)

//go:embed loki.yaml
var lokiConfig string

// loki is a single Grafana Loki with its chunks in files.
type loki struct {
	dir, program, address string
	h                     *haystack
	server                *exec.Cmd
}

func newLoki(ctx context.Context, dir string, h *haystack, o options) (*loki, error) {
	l := &loki{dir: dir, program: o.loki, h: h}
	if l.program == "" {
		l.program = dir + ".program"
		if err := buildLoki(ctx, l.program); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *loki) start(ctx context.Context) error {
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return err
	}
	web, grpc, err := freePorts()
	if err != nil {
		return err
	}
	l.address = "http://127.0.0.1:" + web
	config := l.dir + ".yaml"
	text := strings.NewReplacer("DIR", l.dir, "HTTP", web, "GRPC", grpc, "DAY", l.h.g.Options().From.Add(-48*time.Hour).Format(time.DateOnly)).Replace(lokiConfig)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(filepath.Dir(l.dir), "loki.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	l.server = exec.Command(l.program, "-config.file="+config)
	l.server.Stdout, l.server.Stderr = log, log
	if err := l.server.Start(); err != nil {
		return err
	}
	return until(ctx, func() error { _, err := l.get(ctx, "/ready", nil); return err })
}

func freePorts() (first, second string, err error) {
	a, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	b, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", errors.Join(err, a.Close())
	}
	port := func(l net.Listener) string { return strconv.Itoa(l.Addr().(*net.TCPAddr).Port) }
	return port(a), port(b), errors.Join(a.Close(), b.Close())
}

func (l *loki) get(ctx context.Context, path string, values url.Values) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.address+path+"?"+values.Encode(), nil)
	if err != nil {
		return nil, err
	}
	return l.do(r)
}

func (l *loki) do(r *http.Request) ([]byte, error) {
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %.300s", r.URL.Path, answer.Status, body)
	}
	return body, err
}

func (l *loki) timed(do func() error) (cost, error) {
	began, used := time.Now(), ownTime()+familyTime(l.root())
	err := do()
	return cost{time.Since(began), ownTime() + familyTime(l.root()) - used}, err
}

func (l *loki) feed(ctx context.Context, from, to int) (cost, error) {
	var batches []event.Batch
	for n := from; n < to; n++ {
		batches = append(batches, l.h.g.Batch(n))
	}
	return l.timed(func() error {
		for group := range slicesOf(batches, 4) { // about 1 MiB each
			if err := l.push(ctx, group); err != nil {
				return err
			}
		}
		return nil
	})
}

func slicesOf(all []event.Batch, n int) func(func([]event.Batch) bool) {
	return func(yield func([]event.Batch) bool) {
		for i := 0; i < len(all); i += n {
			if !yield(all[i:min(i+n, len(all))]) {
				return
			}
		}
	}
}

// push sends batches as Loki's protobuf message (logproto.PushRequest): a
// stream for each site, kind and product, the event as JSON in a line.
func (l *loki) push(ctx context.Context, batches []event.Batch) error {
	streams := map[string][]byte{}
	for _, b := range batches {
		for i := range b.Events {
			e := &b.Events[i]
			labels := fmt.Sprintf("{site=%q, kind=%q, product=%q}", e.Site, e.Kind, e.Product)
			line, err := json.Marshal(e)
			if err != nil {
				return err
			}
			stamp := protobuf(nil, 1, uint64(e.Time.Unix()))
			stamp = protobuf(stamp, 2, uint64(e.Time.Nanosecond()))
			entry := protobytes(nil, 1, stamp)
			streams[labels] = protobytes(streams[labels], 2, protobytes(entry, 2, line))
		}
	}
	var body []byte
	for labels, entries := range streams {
		body = protobytes(body, 1, append(protobytes(nil, 1, []byte(labels)), entries...))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.address+"/loki/api/v1/push", bytes.NewReader(s2.EncodeSnappy(nil, body)))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	_, err = l.do(r)
	return err
}

func protobuf(to []byte, field int, n uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(to, uint64(field)<<3), n)
}

func protobytes(to []byte, field int, body []byte) []byte {
	to = binary.AppendUvarint(binary.AppendUvarint(to, uint64(field)<<3|2), uint64(len(body)))
	return append(to, body...)
}

// finish ends the server: it writes what it holds in memory into chunks and the
// index before.
func (l *loki) finish(context.Context) (cost, error) {
	began, used, server := time.Now(), familyTime(l.root()), l.server
	err := l.stop()
	return cost{time.Since(began), server.ProcessState.UserTime() + server.ProcessState.SystemTime() - used}, err
}

func (l *loki) stop() error {
	if l.server == nil {
		return nil
	}
	_ = l.server.Process.Signal(syscall.SIGTERM)
	_ = l.server.Wait()
	l.server = nil
	return nil
}

func (l *loki) folder() string { return l.dir }
func (l *loki) root() int {
	if l.server == nil {
		return 0
	}
	return l.server.Process.Pid
}
func (l *loki) remark() string {
	return "one process, schema v13 (TSDB), chunks in files with zstd, a stream for each site, kind and product, the event as a JSON line, write-ahead log on"
}

// ask answers a question. The text is what a practised user would write:
// labels and line filters first, JSON parsed only for what is left.
func (l *loki) ask(ctx context.Context, id string) ([][]string, time.Duration, error) {
	from, to := l.h.day()
	switch id {
	case "q7":
		return l.lines(ctx, everyStream+" |= `\"host\":\""+l.h.tally.Probe+"\"`", from, to, 200)
	case "q9":
		return l.failures(ctx)
	case "q10":
		return l.lines(ctx, everyStream, l.h.g.Options().From, l.h.g.To(), 100)
	}
	began := time.Now()
	rows, err := l.query(ctx, l.metric(id))
	took := time.Since(began)
	if id == "q8" {
		largestFirst(rows)
	}
	return rows, took, err
}

const everyStream = `{site=~".+"}`

// span is the time of all events in LogQL's words.
func (l *loki) span() string {
	return strconv.Itoa(int(l.h.g.To().Sub(l.h.g.Options().From).Seconds())+1) + "s"
}

func (l *loki) metric(id string) lokiQuery {
	switch id {
	case "q1":
		return lokiQuery{text: "sum by (product) (count_over_time(" + everyStream + " [1h]))", columns: []string{"product", "@", "#"}, step: time.Hour}
	case "q2":
		return lokiQuery{text: "sum by (code) (count_over_time(" + everyStream + ` | json code="fields.EventID" [1h]))`, columns: []string{"code", "#"}, at: l.h.tally.To}
	case "q8":
		return lokiQuery{text: `topk(20, sum by (remote) (sum_over_time({kind="flow"} | json remote="fields.DestinationIp", sent="fields.BytesSent" | unwrap sent [` + l.span() + "])))", columns: []string{"remote", "#"}}
	}
	selector := map[string]string{
		"q3":  everyStream + " |= `" + archivetest.Command + "`",
		"q3w": everyStream + " |= `" + archivetest.Command + "`",
		"q3b": everyStream + " |~ `(?i)" + archivetest.Command + "`",
		"q3c": everyStream + " |= `" + archivetest.Phrase + "`",
		"q4":  `{kind="flow"} |= ` + "`\"DestinationIp\":\"" + archivetest.RareAddress + "\"`",
		"q4b": everyStream + " |= `" + archivetest.RareAddress + "`",
		"q5":  `{kind="process"} |= ` + "`" + archivetest.RareHash + "`",
		"q5n": `{kind="process"} |= ` + "`" + archivetest.AbsentHash + "`",
		"q6":  everyStream + " |= `\"User\":\"" + archivetest.RareUser + "\"`",
		"q11": `{kind="process"} |~ ` + "`" + `"CommandLine":"[^"]*` + archivetest.EncodedPattern + "`",
	}[id]
	return lokiQuery{text: "sum(count_over_time(" + selector + " [" + l.span() + "]))", columns: []string{"#"}, one: true}
}

// largestFirst sorts by the second column: LogQL's topk gives no order.
func largestFirst(rows [][]string) {
	slices.SortStableFunc(rows, func(x, y []string) int { return -cmp.Or(cmp.Compare(len(x[1]), len(y[1])), cmp.Compare(x[1], y[1])) })
}

// failures asks twice: LogQL counts no distinct values beside the events.
func (l *loki) failures(ctx context.Context) ([][]string, time.Duration, error) {
	began := time.Now()
	by := `sum by (user, source) (count_over_time({kind="login", product="windows"} |= ` + "`\"EventID\":\"4625\"`" + ` | json user="fields.User", source="fields.SourceIp" [` + l.span() + "]))"
	total, err := l.query(ctx, lokiQuery{text: "topk(20, sum by (user) (" + by + "))", columns: []string{"user", "#"}})
	if err != nil {
		return nil, 0, err
	}
	distinct, err := l.query(ctx, lokiQuery{text: "count by (user) (" + by + ")", columns: []string{"user", "#"}})
	if err != nil {
		return nil, 0, err
	}
	sources := map[string]string{}
	for _, row := range distinct {
		sources[row[0]] = row[1]
	}
	for i := range total {
		total[i] = append(total[i], sources[total[i][0]])
	}
	took := time.Since(began)
	largestFirst(total)
	return total, took, nil
}

// lokiQuery is a metric query; columns name labels, "@" the time in
// microseconds and "#" the value.
type lokiQuery struct {
	text    string
	columns []string
	step    time.Duration
	at      time.Time // zero: the end of all events
	one     bool      // no result means 0
}

func (l *loki) query(ctx context.Context, q lokiQuery) ([][]string, error) {
	path, values := "/loki/api/v1/query", url.Values{"query": {q.text}}
	nanos := func(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }
	if q.step > 0 { // a point counts the hour before it
		path = "/loki/api/v1/query_range"
		from := l.h.g.Options().From.Truncate(q.step).Add(q.step)
		values.Set("start", nanos(from))
		values.Set("end", nanos(l.h.g.To().Add(q.step)))
		values.Set("step", strconv.Itoa(int(q.step.Seconds()))+"s")
	} else {
		at := q.at
		if at.IsZero() {
			at = l.h.g.To()
		}
		values.Set("time", nanos(at.Add(-1)))
	}
	body, err := l.get(ctx, path, values)
	if err != nil {
		return nil, err
	}
	return q.rows(body)
}

func (q lokiQuery) rows(body []byte) (rows [][]string, err error) {
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  *[2]any
				Values [][2]any
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	for _, r := range answer.Data.Result {
		if r.Value != nil {
			r.Values = append(r.Values, *r.Value)
		}
		for _, v := range r.Values {
			var row []string
			for _, c := range q.columns {
				row = append(row, q.cell(c, r.Metric, v))
			}
			rows = append(rows, row)
		}
	}
	if q.one && len(rows) == 0 {
		return [][]string{{"0"}}, nil
	}
	return rows, nil
}

func (q lokiQuery) cell(column string, labels map[string]string, v [2]any) string {
	switch column {
	case "@":
		seconds, _ := v[0].(float64)
		return text((int64(seconds) - int64(q.step.Seconds())) * 1e6)
	case "#":
		s, _ := v[1].(string)
		n, _ := strconv.ParseFloat(s, 64)
		return text(int64(n))
	}
	return labels[column]
}

// lines returns the newest lines, whole.
func (l *loki) lines(ctx context.Context, selector string, from, to time.Time, limit int) (rows [][]string, took time.Duration, err error) {
	began := time.Now()
	body, err := l.get(ctx, "/loki/api/v1/query_range", url.Values{"query": {selector}, "direction": {"backward"}, "limit": {strconv.Itoa(limit)},
		"start": {strconv.FormatInt(from.UnixNano(), 10)}, "end": {strconv.FormatInt(to.UnixNano(), 10)}})
	if err != nil {
		return nil, 0, err
	}
	took = time.Since(began)
	var answer struct {
		Data struct {
			Result []struct{ Values [][2]string }
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, 0, err
	}
	for _, r := range answer.Data.Result {
		for _, v := range r.Values {
			n, _ := strconv.ParseInt(v[0], 10, 64)
			rows = append(rows, []string{text(n / 1000), v[1]})
		}
	}
	return rows, took, nil
}
