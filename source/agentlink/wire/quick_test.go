package wire

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/archive/archivetest"
	"github.com/sonae/sonae/event"
)

// unusual are texts that the quick reader takes or leaves, each for another
// reason.
var unusual = []string{
	`{"id":"a","events":[]}`, `{"id":"a","events":null}`, `{"id":"a"}`, `{}`, `{"events":[{}],"id":"a"}`, `{"id":"a","events":[{"fields":{}}]}`,
	` { "id" : "a" , "sent_at" : "2026-01-02T03:04:05.5Z" , "events" : [ { "time" : "2026-02-29T00:00:00Z" } ] } `,
	`{"id":"a","events":[{"time":"2024-02-29T23:59:59.123456789+09:00","drill":true,"fields":{"a":"b","a":"c"}}]}`,
	`{"id":"a","events":[{"raw":"\u0000\ud83d\ude00\n\/\"","fields":{"\u0061":"x","a":"y"}}]}`, `{"id":"a","events":[{"raw":"\ud83d"}]}`,
	`{"id":"a","events":[{"raw":"\ud83d\u0041"}]}`, `{"id":"a","events":[{"raw":"\x"}]}`, `{"id":"a","events":[{"ID":"x","rAw":"y"}]}`,
	`{"id":"a","events":[{"raw":null,"fields":null,"other":[1,{"x":2}]}]}`, `{"id":"a","id":"b","events":[]}`, `{"id":"a","events":[{"kind":"x"},]}`,
	`{"id":"a","events":[{"fields":{"a":"b"}]}`, `{"id":"a","events":[{}]}}`, `{"id":"a","events":[{"drill":"true"}]}`, `{"id":"a","events":[{"raw":"\u00"}]}`,
	"{\"id\":\"\xff\",\"events\":[{\"raw\":\"\x01\"}]}", `{"id":"a","events":[{"time":"2026-01-02T24:04:05Z"}]}`, `{"id":"a","events":[{"time":"2026-01-02T03:04:05.Z"}]}`,
	`{"id":"a","events":[{"time":"2026-01-02T03:04:60Z"}]}`, `{"id":"a","events":[{"time":"2026-01-02T03:04:05.1234567891Z"}]}`, `[]`, `{"id":"a" "events":[]}`, `{"id":"a","events":[{"drill":false`,
	`{"id":"\ud800","events":[]}`, `{"id":"a","events":[{"id":"\q"}]}`, `{"id":"a","events":[{"fields":{"a\\":"b\\\\"}}]}`,
}

// same compares what the quick reader makes of a text with what encoding/json
// makes of it, with and without a stamp.
func same(t *testing.T, text []byte) (taken bool) {
	t.Helper()
	for _, stamp := range []*Stamp{nil, {Site: "hospital", Host: "ho-1", At: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)}} {
		q := quick{text: text, build: true, stamp: stamp, known: map[string]string{}}
		got, n, ok := q.batch()
		check := quick{text: text, known: map[string]string{}}
		only, m, checked := check.batch()
		if checked != ok || ok && (m != n || only.ID != got.ID) {
			t.Fatalf("%q: read: %v %d, checked: %v %d", text, ok, n, checked, m)
		}
		if !ok {
			return false
		}
		want, err := decodeAny(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if stamp != nil {
			stamp.mark(&got)
			stamp.own(&want)
		}
		if diff := cmp.Diff(want, got); diff != "" || n != len(want.Events) {
			t.Fatalf("%q (-encoding/json +quick):\n%s", text, diff)
		}
	}
	return true
}

func TestQuickReaderAgreesWithEncodingJSON(t *testing.T) {
	taken := 0
	for _, text := range unusual {
		if same(t, []byte(text)) {
			taken++
		}
	}
	if taken < 8 || taken == len(unusual) {
		t.Errorf("%d of %d texts were read quickly", taken, len(unusual))
	}
}

// What agents send must not fall back to the slow reader.
func TestQuickReaderTakesWhatAgentsSend(t *testing.T) {
	for batch := range archivetest.New(archivetest.Options{Events: 10_000}).All() {
		text, err := json.Marshal(batch)
		if err != nil {
			t.Fatal(err)
		}
		if !same(t, text) {
			t.Fatalf("left to encoding/json: %.2000s", text)
		}
	}
}

func FuzzQuickReader(f *testing.F) {
	for _, text := range unusual {
		f.Add([]byte(text))
	}
	text, err := json.Marshal(sample(3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) { same(t, text) })
}

func TestStampDecidesWhoseABatchIs(t *testing.T) {
	at := time.Date(2026, 7, 1, 3, 4, 5, 0, time.UTC)
	old := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, text := range map[string]string{
		"quick": `{"id":"ho-1.b","site":"x","host":"y","sent_at":"0001-01-01T00:00:00Z","events":[{"id":"x","time":"0001-01-01T00:00:00Z","site":"x","host":"y","drill":true,"kind":"log"}]}`,
		"slow":  `{"ID":"ho-1.b","site":"x","host":"y","sent_at":"0001-01-01T00:00:00Z","events":[{"id":"x","time":"0001-01-01T00:00:00Z","site":"x","host":"y","drill":true,"kind":"log"}]}`,
	} {
		data, err := Stamped(Stamp{"hospital", "ho-1", at}, pack(t, []byte(text)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeStamped(data)
		if err != nil {
			t.Fatal(err)
		}
		want := event.Batch{ID: "ho-1.b", Site: "hospital", Host: "ho-1", SentAt: at,
			Events: []event.Event{{ID: "ho-1.b-0", Time: at, Site: "hospital", Host: "ho-1", Kind: "log"}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		for n := range len(data) {
			if _, err := DecodeStamped(data[:n]); err == nil {
				t.Errorf("%s: cut at %d of %d and accepted", name, n, len(data))
			}
		}
		if _, err := DecodeBatch(data); err == nil {
			t.Error("an agent may send a stamp")
		}
	}
	if b, err := DecodeStamped(pack(t, []byte(`{"id":"a","events":[{"id":"x","drill":true,"time":"0001-01-01T00:00:00Z"}]}`))); err != nil || !b.Events[0].Drill || !b.Events[0].Time.Equal(old) {
		t.Errorf("without a stamp: %+v, %v", b, err)
	}
	if _, err := Stamped(Stamp{Host: strings.Repeat("x", 1<<16)}, nil); err == nil {
		t.Error("a stamp of any size")
	}
}
