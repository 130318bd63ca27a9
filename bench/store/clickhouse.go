package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/archive/archivetest"
	"github.com/sonae/sonae/event"
)

//go:embed clickhouse.mjs
var clickHouseScript []byte

// chdbVersion is the release of the npm package chdb that is installed; it
// brings ClickHouse 26.7 as a library.
const chdbVersion = "3.4.0"

// clickHouse is ClickHouse inside of a Node.js process.
type clickHouse struct {
	dir, modules, script string
	h                    *haystack
	child                *childProcess
	buffer               bytes.Buffer
}

func newClickHouse(ctx context.Context, dir string, h *haystack, o options) (*clickHouse, error) {
	if _, err := exec.LookPath("node"); err != nil {
		return nil, fmt.Errorf("Node.js is needed for the embedded ClickHouse: %w", err)
	}
	c := &clickHouse{dir: dir, modules: o.chdb, script: dir + ".mjs", h: h}
	if c.modules == "" {
		c.modules = dir + ".npm"
		out, err := exec.CommandContext(ctx, "npm", "install", "--prefix", c.modules, "--no-audit", "--no-fund", "--ignore-scripts", "chdb@"+chdbVersion).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("npm install chdb@%s: %w: %s", chdbVersion, err, out)
		}
	}
	return c, os.WriteFile(c.script, clickHouseScript, 0o644)
}

func (c *clickHouse) start(context.Context) error {
	_, err := os.Stat(c.dir)
	fresh := errors.Is(err, os.ErrNotExist)
	if c.child, err = startChild(exec.Command("node", c.script, c.modules, filepath.Join(c.dir, "data"))); err != nil || !fresh {
		return err
	}
	_, err = c.run("CREATE DATABASE sonae")
	if err == nil {
		_, err = c.run(clickHouseSchema)
	}
	return err
}

// clickHouseSchema sorts by hour, host and time: questions about a host and
// about the newest events both read little.
const clickHouseSchema = `CREATE TABLE sonae.events (
	time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)), ingested DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)), id String CODEC(ZSTD(1)),
	site LowCardinality(String), host LowCardinality(String), kind LowCardinality(String), product LowCardinality(String), category LowCardinality(String), service LowCardinality(String),
	code LowCardinality(String), user LowCardinality(String), process LowCardinality(String), parent LowCardinality(String), command String CODEC(ZSTD(1)), file String CODEC(ZSTD(1)),
	source_ip String CODEC(ZSTD(1)), source_port UInt16 CODEC(ZSTD(1)), destination_ip String CODEC(ZSTD(1)), destination_port UInt16 CODEC(ZSTD(1)),
	transport LowCardinality(String), application LowCardinality(String), bytes_out Int64 CODEC(ZSTD(1)), bytes_in Int64 CODEC(ZSTD(1)), hash String CODEC(ZSTD(1)),
	batch String CODEC(ZSTD(1)), fields Map(LowCardinality(String), String) CODEC(ZSTD(1)), raw String CODEC(ZSTD(1)),
	INDEX words raw TYPE text(tokenizer = 'splitByNonAlpha'),
	INDEX source source_ip TYPE bloom_filter(0.001), INDEX destination destination_ip TYPE bloom_filter(0.001), INDEX digest hash TYPE bloom_filter(0.001), INDEX who user TYPE bloom_filter(0.001)
) ENGINE = MergeTree PARTITION BY toYYYYMMDD(time) ORDER BY (toStartOfHour(time), host, time) SETTINGS old_parts_lifetime = 1, cleanup_delay_period = 1, max_cleanup_delay_period = 1, cleanup_delay_period_random_add = 0`

// run carries out a statement and returns the rows it gives.
func (c *clickHouse) run(sql string) (reply, error) {
	r, err := c.child.call(request{SQL: sql})
	if err != nil {
		return r, err
	}
	for line := range strings.Lines(r.Text) {
		r.Rows = append(r.Rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return r, nil
}

func (c *clickHouse) timed(do func() error) (cost, error) {
	began, used := time.Now(), ownTime()+familyTime(c.root())
	err := do()
	return cost{time.Since(began), ownTime() + familyTime(c.root()) - used}, err
}

func (c *clickHouse) feed(_ context.Context, from, to int) (cost, error) {
	var batches []event.Batch
	for n := from; n < to; n++ {
		batches = append(batches, c.h.g.Batch(n))
	}
	return c.timed(func() error {
		c.buffer.Reset()
		for _, b := range batches {
			for i := range b.Events {
				c.encode(b, &b.Events[i])
			}
		}
		path := c.dir + ".rows"
		if err := os.WriteFile(path, c.buffer.Bytes(), 0o644); err != nil {
			return err
		}
		_, err := c.run("INSERT INTO sonae.events FROM INFILE '" + path + "' FORMAT RowBinary")
		return errors.Join(err, os.Remove(path))
	})
}

// encode writes a row in ClickHouse's RowBinary format.
func (c *clickHouse) encode(b event.Batch, e *event.Event) {
	r := rowOf(e)
	put := func(texts ...string) {
		for _, s := range texts {
			c.length(len(s))
			c.buffer.WriteString(s)
		}
	}
	number := func(width int, n int64) {
		var raw [8]byte
		binary.LittleEndian.PutUint64(raw[:], uint64(n))
		c.buffer.Write(raw[:width])
	}
	parse := func(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n }
	number(8, e.Time.UnixMicro())
	number(8, b.SentAt.UnixMicro())
	put(e.ID, e.Site, e.Host, string(e.Kind), e.Product, e.Category, e.Service, r.code, r.user, r.process, r.parent, r.command, r.file, r.source)
	number(2, parse(r.sourcePort))
	put(r.destination)
	number(2, parse(r.destinationPort))
	put(r.transport, r.application)
	number(8, parse(r.sent))
	number(8, parse(r.received))
	put(r.hash, b.ID)
	c.length(len(r.rest))
	for name, value := range r.rest {
		put(name, value)
	}
	put(e.Raw)
}

func (c *clickHouse) length(n int) {
	var raw [binary.MaxVarintLen64]byte
	c.buffer.Write(raw[:binary.PutUvarint(raw[:], uint64(n))])
}

// finish merges all parts of a day into one and waits until the old ones are
// removed.
func (c *clickHouse) finish(ctx context.Context) (cost, error) {
	spent, err := c.timed(func() error {
		_, err := c.run("OPTIMIZE TABLE sonae.events FINAL")
		return err
	})
	if err != nil {
		return spent, err
	}
	return spent, until(ctx, func() error {
		r, err := c.run("SELECT count() FROM system.parts WHERE NOT active")
		if err == nil && r.Text != "0\n" {
			err = fmt.Errorf("%s parts are not removed yet", strings.TrimSpace(r.Text))
		}
		return err
	})
}

// unremembered keeps ClickHouse from remembering which parts of the table a
// condition had matched: a warm question is one whose files are in memory, not
// one that was answered before.
const unremembered = " SETTINGS use_query_condition_cache = 0"

func (c *clickHouse) ask(_ context.Context, id string) ([][]string, time.Duration, error) {
	r, err := c.run(c.statement(id) + unremembered)
	return r.Rows, r.Wall, err
}

func (c *clickHouse) statement(id string) string {
	whole := "SELECT toUnixTimestamp64Micro(time), * FROM sonae.events "
	switch id {
	case "q1":
		return "SELECT product, toUnixTimestamp(toStartOfHour(time)) * 1000000 AS hour, count() FROM sonae.events GROUP BY product, hour"
	case "q2":
		return "SELECT code, count() FROM sonae.events WHERE " + between(c.h.tally.From, c.h.tally.To) + " GROUP BY code"
	case "q7":
		return whole + "WHERE host = " + quote(c.h.tally.Probe) + " AND " + between(c.h.day()) + " ORDER BY time DESC LIMIT 200"
	case "q8":
		return "SELECT destination_ip, sum(bytes_out) AS n FROM sonae.events WHERE kind = 'flow' GROUP BY destination_ip ORDER BY n DESC, destination_ip LIMIT 20"
	case "q9":
		return "SELECT user, count() AS n, uniqExact(source_ip) FROM sonae.events WHERE code = " + quote(archivetest.FailedCode) + " GROUP BY user ORDER BY n DESC, user LIMIT 20"
	case "q10":
		return whole + "ORDER BY time DESC LIMIT 100"
	}
	needle, address := quote(archivetest.Command), quote(archivetest.RareAddress)
	return "SELECT count() FROM sonae.events WHERE " + map[string]string{
		"q3":  "position(raw, " + needle + ") > 0",
		"q3w": "hasAllTokens(raw, ['Invoke', 'Mimikatz']) AND position(raw, " + needle + ") > 0",
		"q3b": "raw ILIKE concat('%', " + needle + ", '%')",
		"q3c": "position(raw, " + quote(archivetest.Phrase) + ") > 0",
		"q4":  "destination_ip = " + address,
		"q4b": "destination_ip = " + address + " OR source_ip = " + address + " OR position(raw, " + address + ") > 0",
		"q5":  "hash = " + quote(archivetest.RareHash),
		"q5n": "hash = " + quote(archivetest.AbsentHash),
		"q6":  "user = " + quote(archivetest.RareUser),
		"q11": "match(command, " + quote(archivetest.EncodedPattern) + ")",
	}[id]
}

// quote writes a text as ClickHouse does.
func quote(s string) string {
	return "'" + strings.NewReplacer("\\", "\\\\", "'", "\\'").Replace(s) + "'"
}

func between(from, to time.Time) string {
	at := func(t time.Time) string { return "fromUnixTimestamp64Micro(" + text(t.UnixMicro()) + ", 'UTC')" }
	return "time >= " + at(from) + " AND time < " + at(to)
}

func (c *clickHouse) stop() error {
	child := c.child
	c.child = nil
	return child.stop()
}

func (c *clickHouse) folder() string { return c.dir }
func (c *clickHouse) root() int      { return c.child.pid() }
func (c *clickHouse) remark() string {
	return "embedded (chdb " + chdbVersion + "), MergeTree by day sorted by hour, host and time, ZSTD, token index on the original line, Bloom filters; no memory of conditions that were asked before; not synced (its default)"
}
