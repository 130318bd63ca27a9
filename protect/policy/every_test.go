package policy

import (
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
)

// What is saved all day long is due every so many minutes from midnight in Japan,
// and only at intervals that divide a day.
func TestEverySoManyMinutes(t *testing.T) {
	s := Schedule{Every: 15, Window: 30}
	if err := s.tidy(); err != nil {
		t.Fatal(err)
	}
	all := s.Slots(at, at.Add(time.Hour), 10) // half past midnight
	if len(all) != 4 || !all[0].Equal(at.Add(15*time.Minute)) || !all[3].Equal(at.Add(time.Hour)) || s.longest() != 15*time.Minute {
		t.Errorf("%v, longest %v", all, s.longest())
	}
	if p := (Policy{Schedule: s}); p.Allowed() != 15*time.Minute+30*time.Minute+2*time.Hour {
		t.Errorf("%v", p.Allowed())
	}
	for _, bad := range []Schedule{{Every: 5, Window: 30}, {Every: 25, Window: 30}, {Every: 1440, Window: 30}, {Every: -15, Window: 30}, {Every: 15, Times: []string{"01:00"}, Window: 30}, {Window: 30}} {
		if err := bad.tidy(); fault.Of(err) != fault.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
