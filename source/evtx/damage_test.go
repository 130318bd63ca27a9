package evtx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sonae/sonae/event"
)

// ids reads a log and returns the record ids and the report.
func ids(t testing.TB, log []byte) ([]uint64, Report) {
	t.Helper()
	var all []uint64
	report, err := Read(t.Context(), bytes.NewReader(log), Options{}, func(r *event.Record) error {
		all = append(all, r.Number)
		return nil
	})
	if err != nil && !errors.Is(err, ErrFormat) {
		t.Fatal(err)
	}
	return all, report
}

func says(r Report, reason string) bool {
	return slices.ContainsFunc(r.Damage, func(d Damage) bool { return strings.Contains(d.Reason, reason) })
}

// free is where the records of a chunk end.
func free(chunk []byte) int { return int(le.Uint32(chunk[48:])) }

// recordAt is where record n of a chunk begins, from 0.
func recordAt(chunk []byte, n int) int {
	at := chunkHeader
	for range n {
		at += int(le.Uint32(chunk[at+4:]))
	}
	return at
}

func TestDamagedLogs(t *testing.T) {
	for name, tt := range map[string]struct {
		log    []byte
		want   []uint64
		says   string // "" for a sound log
		lost   int
		carved int
	}{
		"a sound log": {logOf(small(1), small(5)), []uint64{1, 2, 3, 4, 5, 6, 7, 8}, "", 0, 0},
		"no file header": {
			append(small(1), small(5)...), []uint64{1, 2, 3, 4, 5, 6, 7, 8}, "no file header", 0, 0,
		},
		"a chunk's magic is gone": {
			logOf(change(small(1), func(c []byte) { clear(c[:8]) }), small(5)),
			[]uint64{1, 2, 3, 4, 5, 6, 7, 8}, "no chunk header", 0, 4,
		},
		"a chunk's header is gone": {
			logOf(small(1), change(small(5), func(c []byte) { clear(c[:chunkHeader]) })),
			[]uint64{1, 2, 3, 4, 5, 6, 7, 8}, "no chunk header", 0, 4,
		},
		"a record's size is wrong": {
			logOf(change(small(1), func(c []byte) { c[recordAt(c, 1)+4]++ })),
			[]uint64{1, 3, 4}, "searched for the next one", 1, 1,
		},
		"zeroes in the middle": {
			logOf(change(small(1), func(c []byte) { clear(c[recordAt(c, 1) : recordAt(c, 2)+30]) })),
			[]uint64{1, 4}, "2 records are missing", 2, 1,
		},
		"zeroes up to the end": {
			logOf(change(small(1), func(c []byte) { clear(c[recordAt(c, 2):]) })),
			[]uint64{1, 2}, "2 records are missing", 2, 0,
		},
		"the copy of the size is gone": {
			logOf(change(small(1), func(c []byte) { clear(c[recordAt(c, 2)-4 : recordAt(c, 2)]) })),
			[]uint64{1, 2, 3, 4}, "checksum of the chunk's records", 0, 0,
		},
		"garbage between chunks": {
			logOf(small(1), append(bytes.Repeat([]byte("garbage!"), 100), small(5)...)),
			[]uint64{1, 2, 3, 4, 5, 6, 7, 8}, "800 bytes that are no chunk", 0, 0,
		},
		"bytes missing in a chunk": {
			logOf(append(change(small(1), func(c []byte) { c[600]++ })[:60000:60000], small(5)...)),
			[]uint64{1, 2, 3, 4, 5, 6, 7, 8}, "the next chunk begins after 60000 bytes", 0, 0,
		},
		"zeroes instead of a chunk": {
			logOf(small(1), make([]byte, chunkSize), small(9)),
			[]uint64{1, 2, 3, 4, 9, 10, 11, 12}, "zeroes where a chunk should be", 0, 0,
		},
		"cut in the first chunk": {
			logOf(small(1))[:headerBlock+recordAt(small(1), 3)+9],
			[]uint64{1, 2, 3}, "the chunk ends after", 1, 0,
		},
		"cut between chunks": {
			logOf(small(1), small(5))[:headerBlock+chunkSize],
			[]uint64{1, 2, 3, 4}, "1 chunks where the header counts 2", 0, 0,
		},
		"more chunks than the header counts": {
			append(logOf(small(1)), small(5)...), []uint64{1, 2, 3, 4, 5, 6, 7, 8}, "", 0, 0,
		},
		"records behind the end of an old header": {
			logOf(change(small(1), func(c []byte) { le.PutUint32(c[48:], uint32(recordAt(c, 2))) })),
			[]uint64{1, 2, 3, 4}, "checksum", 0, 2,
		},
		"the template is overwritten": {
			logOf(change(small(1), func(c []byte) { c[recordAt(c, 0)+recordHeader+18]++ })),
			[]uint64{3}, "its template is not there", 3, 0,
		},
		"no log": {bytes.Repeat([]byte("text\n"), 30000), nil, "no file header", 0, 0},
		"empty":  {nil, nil, "no file header", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, report := ids(t, tt.log)
			if !slices.Equal(got, tt.want) {
				t.Errorf("records %v, want %v", got, tt.want)
			}
			if tt.says == "" && report.Damaged != 0 || tt.says != "" && !says(report, tt.says) {
				t.Errorf("damage %v, want %q", report.Damage, tt.says)
			}
			if report.Lost != tt.lost || report.Carved != tt.carved {
				t.Errorf("lost %d, carved %d, want %d and %d; %v", report.Lost, report.Carved, tt.lost, tt.carved, report.Damage)
			}
			if report.Bytes != int64(len(tt.log)) {
				t.Errorf("%d bytes, want %d", report.Bytes, len(tt.log))
			}
		})
	}
}

func change(chunk []byte, f func([]byte)) []byte {
	f(chunk)
	return chunk
}

// TestEveryFlippedByteIsNoticed changes one byte after the other of what is
// used in a log. The checksums must give each away, and no record that is
// delivered unharmed may differ.
func TestEveryFlippedByteIsNoticed(t *testing.T) {
	whole := logOf(small(1))
	for at := range headerBlock + free(small(1)) {
		flags := at >= 120 && at < 124 || at >= headerBlock+120 && at < headerBlock+124
		if at >= headerData && at < headerBlock || flags {
			continue // unused, or no checksum covers it
		}
		log := bytes.Clone(whole)
		log[at] ^= 0x55
		_, report := ids(t, log)
		if report.Damaged == 0 {
			t.Errorf("byte %d: not noticed", at)
		}
		if lost := 4 - report.Records; lost > 0 && report.Damaged < 2 && report.Lost == 0 {
			t.Errorf("byte %d: %d records missing and only %v", at, lost, report.Damage)
		}
	}
}

// TestCutLogsKeepWhatIsThere cuts logs everywhere and wants what lies before.
func TestCutLogsKeepWhatIsThere(t *testing.T) {
	logs := map[string][]byte{"built": logOf(small(1), small(5))}
	for name, log := range files(t, "evtx-samples.tar.gz", "new-user-security.evtx") {
		logs[name] = log
	}
	for name, log := range logs {
		all, _ := read(t, log)
		before := 0
		for n := 0; n < len(log); n += 1 << 10 {
			got, report := readSome(t, log[:n])
			if len(got) < before {
				t.Errorf("%s: %d records of %d bytes, but %d of less", name, len(got), n, before)
			}
			if before = len(got); !reflect.DeepEqual(got, all[:before:before]) && before > 0 {
				t.Errorf("%s: the records of %d bytes differ", name, n)
			}
			if report.Damaged == 0 {
				t.Errorf("%s: nobody noticed that only %d bytes are there", name, n)
			}
		}
		if before != len(all) {
			t.Errorf("%s: %d records of all but the end, want %d", name, before, len(all))
		}
	}
}

func readSome(t *testing.T, log []byte) ([]map[string][]string, Report) {
	t.Helper()
	var all []map[string][]string
	report, err := Read(t.Context(), bytes.NewReader(log), Options{}, func(r *event.Record) error {
		all = append(all, fields(r))
		return nil
	})
	if err != nil && !errors.Is(err, ErrFormat) {
		t.Fatal(err)
	}
	return all, report
}

// TestLogsThatAreMadeToTakeLong: each template names its value a thousand
// times, and the value is XML with the next template.
func TestLogsThatAreMadeToTakeLong(t *testing.T) {
	many := func(x *writer) {
		x.open("Event")
		for range 1000 {
			substitute(0, kindXML)(x)
		}
		x.shut()
	}
	var nest func(depth int) func(*writer)
	nest = func(depth int) func(*writer) {
		return func(x *writer) {
			if depth == 0 {
				x.filled(data(text("x")))
				return
			}
			x.filledWith(many, nest(depth-1))
		}
	}
	log := logOf(chunkOf(1, nest(4), data(text("after"))))
	_, report := ids(t, log)
	if report.Lost == 0 || !says(report, "too") {
		t.Errorf("lost %d, %v", report.Lost, report.Damage)
	}
}

func TestReadingEndsWhereItIsTold(t *testing.T) {
	log := logOf(small(1), small(5))
	full := errors.New("full")
	n := 0
	report, err := Read(t.Context(), bytes.NewReader(log), Options{}, func(*event.Record) error {
		if n++; n == 6 {
			return full
		}
		return nil
	})
	if err != full || report.Records != 6 {
		t.Errorf("after %d records: %v", report.Records, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Read(ctx, bytes.NewReader(log), Options{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
	broken := io.MultiReader(bytes.NewReader(log[:70000]), brokenReader{})
	if _, err := Read(t.Context(), broken, Options{}, func(*event.Record) error { return nil }); !errors.Is(err, io.ErrClosedPipe) || !strings.Contains(err.Error(), "70000") {
		t.Errorf("a broken reader: %v", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestDamageIsListedUpToALimitAndCounted(t *testing.T) {
	log := logOf()
	for range 20 {
		log = append(log, change(small(1), func(c []byte) { c[600]++ })...)
	}
	report, err := Read(t.Context(), bytes.NewReader(log), Options{MaxDamage: 7}, func(*event.Record) error { return nil })
	if err != nil || len(report.Damage) != 7 || report.Damaged < 20 {
		t.Errorf("%d listed, %d counted, %v", len(report.Damage), report.Damaged, err)
	}
	for i := 1; i < len(report.Damage); i++ {
		if report.Damage[i].Offset < report.Damage[i-1].Offset {
			t.Errorf("not in order: %v", report.Damage)
		}
	}
	if got := fmt.Sprint(Damage{4608, 3, "torn"}); got != "offset 4608, record 3: torn" {
		t.Error(got)
	}
}
