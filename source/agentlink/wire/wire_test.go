package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/sonae/sonae/event"
)

func sample(n int) event.Batch {
	at := time.Date(2026, 7, 1, 3, 4, 5, 6, time.UTC)
	b := event.Batch{ID: "ho-1.ba-1", SentAt: at}
	for i := range n {
		b.Events = append(b.Events, event.Event{
			ID: fmt.Sprint(b.ID, "-", i), Time: at, Kind: event.KindProcess, Product: "linux", Category: "process_creation",
			Fields: map[string]string{"Image": "/usr/bin/転送", "ProcessId": fmt.Sprint(i)},
		})
	}
	return b
}

func TestBatchComesBackAsItWas(t *testing.T) {
	for _, n := range []int{0, 1, 500} {
		want := sample(n)
		data, err := EncodeBatch(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeBatch(data)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%d events (-want +got):\n%s", n, d)
		}
	}
}

// pack compresses text as a hostile agent would.
func pack(t testing.TB, text []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(text, nil)
}

func TestDecodeBatchRefuses(t *testing.T) {
	fields := new(bytes.Buffer)
	for e := range 40 { // each event stays below MaxEvent
		if e > 0 {
			fields.WriteByte(',')
		}
		fields.WriteString(`{"fields":{"":""`)
		for i := range 20000 {
			fmt.Fprintf(fields, `,"%x":""`, i)
		}
		fields.WriteString(`}}`)
	}
	for name, tt := range map[string]struct {
		data  []byte
		large bool
	}{
		"nothing":                       {nil, false},
		"noise":                         {[]byte("GET / HTTP/1.1\r\n\r\n"), false},
		"text that is not JSON":         {pack(t, []byte("hello")), false},
		"events that are no array":      {pack(t, []byte(`{"id":"a","events":{"0":{}}}`)), false},
		"an event that is no object":    {pack(t, []byte(`{"id":"a","events":[7]}`)), false},
		"more bytes than allowed":       {make([]byte, MaxBatch+1), true},
		"a decompression bomb":          {pack(t, make([]byte, MaxDecoded+1)), true},
		"millions of empty events":      {pack(t, []byte(`{"events":[`+strings.Repeat("{},", 5<<20)+`{}]}`)), true},
		"one event larger than allowed": {pack(t, []byte(`{"events":[{"raw":"`+strings.Repeat("x", MaxEvent)+`"}]}`)), true},
		"too many fields":               {pack(t, []byte(`{"events":[`+fields.String()+`]}`)), true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeBatch(tt.data)
			if err == nil {
				t.Fatal("accepted")
			}
			if got := errors.Is(err, ErrTooLarge); got != tt.large {
				t.Errorf("too large: got %v, want %v (%v)", got, tt.large, err)
			}
		})
	}
}

func TestTokenRoundTrip(t *testing.T) {
	want := Token{Hub: "https://hub.example:7443", CA: strings.Repeat("0a", 32), Secret: "s"}
	got, err := ParseToken("  " + want.Encode() + "\n")
	if err != nil || got != want {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
	for name, bad := range map[string]Token{
		"no fingerprint": {Hub: want.Hub, Secret: "s"},
		"no secret":      {Hub: want.Hub, CA: want.CA},
		"plain HTTP":     {Hub: "http://hub.example", CA: want.CA, Secret: "s"},
		"with a path":    {Hub: "https://hub.example/x", CA: want.CA, Secret: "s"},
	} {
		if _, err := ParseToken(bad.Encode()); !errors.Is(err, ErrToken) {
			t.Errorf("%s: got %v, want ErrToken", name, err)
		}
	}
}

func FuzzDecodeBatch(f *testing.F) {
	for _, n := range []int{0, 1, 20} {
		data, err := EncodeBatch(sample(n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Add(pack(f, []byte(`{"id":"x","events":[{},{"fields":{"a":"b"}}]}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := DecodeBatch(data)
		if err != nil {
			return
		}
		if len(b.Events) > MaxPerBatch {
			t.Fatalf("%d events accepted", len(b.Events))
		}
		again, err := EncodeBatch(b)
		if err != nil {
			return // a time that JSON cannot hold, or text that compresses worse
		}
		if _, err := DecodeBatch(again); err != nil && !errors.Is(err, ErrTooLarge) {
			t.Fatalf("own encoding refused: %v", err)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	f.Add(Token{Hub: "https://[::1]:1", CA: strings.Repeat("ff", 32), Secret: "x"}.Encode())
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := ParseToken(s)
		if err != nil {
			return
		}
		if again, err := ParseToken(tok.Encode()); err != nil || again != tok {
			t.Fatalf("got %+v, %v; want %+v", again, err, tok)
		}
	})
}
