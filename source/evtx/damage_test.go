package evtx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
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
		"a log being written, its header from before the last records": {
			dirty(logOf(change(small(1), func(c []byte) { seal(c, 1, 2, recordAt(c, 1), recordAt(c, 2)) }))),
			[]uint64{1, 2, 3, 4}, "", 0, 2,
		},
		"a log being written, its checksum from before": {
			dirty(logOf(change(small(1), func(c []byte) {
				c[52]++
				le.PutUint32(c[124:], crc32.Update(crc32.ChecksumIEEE(c[:120]), crc32.IEEETable, c[128:chunkHeader]))
			}))),
			[]uint64{1, 2, 3, 4}, "", 0, 0,
		},
		"a log being written over old records": {
			dirty(logOf(change(small(5), func(c []byte) {
				seal(c, 5, 2, recordAt(c, 1), recordAt(c, 2))
				c[recordAt(c, 2)+8] = 3
			}))),
			[]uint64{5, 6}, "", 0, 0,
		},
		"an old record in a damaged place": {
			logOf(change(small(5), func(c []byte) {
				c[recordAt(c, 2)+8] = 3
				c[recordAt(c, 1)+4]++
			})),
			[]uint64{5, 8}, "2 records are missing", 2, 1,
		},
		"the magic of a chunk as text in a damaged one": {
			logOf(change(chunkOf(1, data(text("x")), func(x *writer) {
				x.filled(data(substitute(0, kindBinary)), value{kind: kindBinary, data: chunkMagic})
			}, data(text("y"))), func(c []byte) { c[52]++ })),
			[]uint64{1, 2, 3}, "checksum", 0, 0,
		},
		"events behind the end of a closed log": {
			logOf(change(small(1), func(c []byte) { seal(c, 1, 2, recordAt(c, 1), recordAt(c, 2)) })),
			[]uint64{1, 2}, "", 0, 0,
		},
		"the template is overwritten": {
			logOf(change(small(1), func(c []byte) { c[recordAt(c, 0)+recordHeader+18]++ })),
			[]uint64{3}, "its template is not there", 3, 0,
		},
		"neither a file header nor a chunk's magic": {
			change(small(1), func(c []byte) { clear(c[:8]) }), []uint64{1, 2, 3, 4}, "no chunk header", 0, 4,
		},
		"an end that is too late, old bytes before it": {
			logOf(change(small(1), func(c []byte) {
				at, end := recordAt(c, 3), free(c)
				copy(c[end:], c[at:end])
				c[end+9]++ // the record's id
				seal(c, 1, 4, at, chunkSize)
			})),
			[]uint64{1, 2, 3, 4}, "", 0, 0,
		},
		"a torn record where there are no checksums": {
			unsummed(logOf(change(small(1), func(c []byte) { c[recordAt(c, 1)+4]++ }))),
			[]uint64{1, 3, 4}, "searched for the next one", 1, 1,
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

// dirty sets the flag of a log that was not closed.
func dirty(log []byte) []byte {
	log[120] |= flagDirty
	return log
}

// unsummed sets the flag of a log without checksums.
func unsummed(log []byte) []byte {
	log[120] |= flagNoCRC
	return log
}

// TestALostTemplateIsTakenFromAnotherChunk: the records of the second chunk
// are as they would be with their own template.
func TestALostTemplateIsTakenFromAnotherChunk(t *testing.T) {
	sound := logOf(small(1), small(5))
	log := logOf(small(1), change(small(5), func(c []byte) { clear(c[chunkHeader+recordHeader+14 : chunkHeader+recordHeader+60]) }))
	want, _ := read(t, sound)
	got, report := read(t, log)
	want = append(want[:4:4], want[5:]...) // the template lies in the fifth
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if report.Borrowed != 2 || report.Lost != 1 {
		t.Errorf("%d borrowed, %d lost, %v", report.Borrowed, report.Lost, report.Damage)
	}
	d := NewDecoder(Options{})
	if _, err := Chunks(t.Context(), bytes.NewReader(log), Options{}, func(c Chunk) error {
		return d.Decode(c, func(*event.Record) error { return nil })
	}); err != nil || d.Report().Borrowed != 0 || d.Report().Lost != 4-1 {
		t.Errorf("a decoder by itself: %+v, %v", d.Report(), err)
	}
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

func TestXMLWithinXMLHasALimit(t *testing.T) {
	once := func(x *writer) { x.leaf("Event", substitute(0, kindXML)) }
	var nest func(depth int) func(*writer)
	nest = func(depth int) func(*writer) {
		return func(x *writer) {
			if depth == 0 {
				x.filled(data(text("x")))
				return
			}
			x.filledWith(once, nest(depth-1))
		}
	}
	if got, report := ids(t, logOf(chunkOf(1, nest(maxNested)))); len(got) != 1 {
		t.Errorf("%d within one another: %v", maxNested, report.Damage)
	}
	if got, report := ids(t, logOf(chunkOf(1, nest(maxNested+1)))); len(got) != 0 || !says(report, "too much XML") {
		t.Errorf("%d within one another: %d records, %v", maxNested+1, len(got), report.Damage)
	}
}

// TestRecordsThatWouldNeedTooMuch: such a record is left, the next one read.
func TestRecordsThatWouldNeedTooMuch(t *testing.T) {
	repeat := func(n int, f func(*writer)) func(*writer) {
		return func(x *writer) {
			for range n {
				f(x)
			}
		}
	}
	binary := value{kind: kindBinary, data: make([]byte, 30000)}
	for name, tt := range map[string]struct {
		record func(*writer)
		says   string
	}{
		"values": {
			func(x *writer) {
				x.filled(data(substitute(0, kindArray|kindUint8)), value{kind: kindArray | kindUint8, data: make([]byte, maxPairs+100)})
			}, "too many values",
		},
		"text of one value again and again": {
			func(x *writer) { x.filled(data(repeat(100, substitute(0, kindBinary))), binary) }, "too much text",
		},
		"text of one value in many fields": {
			func(x *writer) {
				x.filled(func(x *writer) { x.leaf("Event", repeat(40, data(substitute(0, kindBinary)))) }, binary)
			}, "too much text",
		},
		"text of one template again and again": {
			func(x *writer) {
				long := text(strings.Repeat("x", 5000))
				x.filledWith(func(x *writer) { x.leaf("Event", repeat(500, substitute(0, kindXML))) },
					func(x *writer) { x.filled(data(several(long, long))) })
			}, "too much text",
		},
		"elements within one another": {
			func(x *writer) {
				repeat(100, func(x *writer) { x.open("E") })(x)
				repeat(100, (*writer).shut)(x)
			}, "too many elements",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, report := ids(t, logOf(chunkOf(1, tt.record, data(text("after")))))
			if !slices.Equal(got, []uint64{2}) || report.Lost != 1 || !says(report, tt.says) {
				t.Errorf("records %v, %v, want %q", got, report.Damage, tt.says)
			}
		})
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

// TestTheWorstSampleGivesMoreThanOthersRead: its chunks lost their beginnings,
// and with them templates. Two other readers find 267 and 270 records.
func TestTheWorstSampleGivesMoreThanOthersRead(t *testing.T) {
	log := files(t, "evtx-samples.tar.gz", "sample_with_a_bad_chunk_magic.evtx")["sample_with_a_bad_chunk_magic.evtx"]
	report, err := Read(t.Context(), bytes.NewReader(log), Options{}, func(r *event.Record) error {
		if id, _ := r.Get("EventRecordID"); id != fmt.Sprint(r.Number) {
			t.Errorf("record %d says that it is %q", r.Number, id)
		}
		return nil
	})
	if err != nil || report.Records < 380 || report.Borrowed < 80 {
		t.Errorf("%d records, %d of them with templates of other chunks, %v", report.Records, report.Borrowed, err)
	}
}
