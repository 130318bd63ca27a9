package bus

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestWaitingShowsWhatNobodyHandledYet(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, 0)
	done := make(chan string, 9)
	err := b.Join(t.Context(), On("alert.>", "slow", func(_ context.Context, s string) error {
		if s == "three" {
			return errors.New("not now") // stays unacknowledged, and those behind it
		}
		done <- s
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"one", "two", "three", "four"} {
		publish(t, b, "alert.raised", s, s)
	}
	await(t, done, "one", "two")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // reading changes nothing
		var got []string
		err = Waiting(t.Context(), dir, "alert", func(subject string, body []byte) error {
			got = append(got, subject+" "+string(body))
			return nil
		})
		if want := []string{`alert.raised "three"`, `alert.raised "four"`}; err != nil || len(got) < 2 || !slices.Equal(got[len(got)-2:], want) {
			t.Errorf("got %q, %v, want %q (and at most what was handled in the last instant)", got, err, want)
		}
	}
	if err := Waiting(t.Context(), dir, "nothing", func(string, []byte) error { return errors.New("called") }); err != nil {
		t.Errorf("a stream that never was: %v", err)
	}
	block := filepath.Join(dir, "jetstream", "$G", "streams", "ALERT", "meta.inf")
	if err := os.WriteFile(block, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Waiting(t.Context(), dir, "alert", func(string, []byte) error { return nil }); err == nil {
		t.Error("a damaged stream is read as if nothing waited")
	}
}
