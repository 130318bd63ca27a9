package vault

import (
	"testing"
	"time"
)

func TestKeylessIsWhatHoldsDataThatNobodyOpensWithoutTheHub(t *testing.T) {
	for name, tt := range map[string]struct {
		r    Repository
		want bool
	}{
		"with data and no second key": {Repository{Escrow: EscrowNone, Begun: time.Unix(1, 0)}, true},
		"kept by another hub":         {Repository{Escrow: EscrowNone, Elsewhere: "hub-b"}, true},
		"nothing was backed up yet":   {Repository{Escrow: EscrowNone}, false},
		"sealed":                      {Repository{Escrow: EscrowSealed, Begun: time.Unix(1, 0)}, false},
		"sealed for others":           {Repository{Escrow: EscrowOld, Begun: time.Unix(1, 0)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.r.Keyless(); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
