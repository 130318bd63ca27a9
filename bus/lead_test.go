package bus

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// TestALostRaceIsKnown: one server and a cluster say in different ways that
// somebody else wrote first; anything else is no lost race.
func TestALostRaceIsKnown(t *testing.T) {
	said := func(code jetstream.ErrorCode) error {
		return fmt.Errorf("write: %w", &jetstream.APIError{Code: 400, ErrorCode: code})
	}
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"written":            {nil, false},
		"one server":         {said(jetstream.JSErrCodeStreamWrongLastSequence), true},
		"cluster":            {said(jetstream.JSErrCodeStreamWrongLastSequenceConstant), true},
		"the key is there":   {fmt.Errorf("write: %w", jetstream.ErrKeyExists), true},
		"another revision":   {fmt.Errorf("write: %w", jetstream.ErrKeyRevisionMismatch), true},
		"no such stream":     {said(jetstream.JSErrCodeStreamNotFound), false},
		"nobody answers":     {errors.New("timeout"), false},
		"not the newest key": {jetstream.ErrKeyNotFound, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := lostRace(tt.err); got != tt.want {
				t.Errorf("%v: got %v, want %v", tt.err, got, tt.want)
			}
		})
	}
}
