package forecast

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/plan"
)

// Yen is a range of money; nobody knows it as one number.
type Yen struct {
	Low  int64 `json:"low"`
	High int64 `json:"high"`
}

func (y Yen) ok() bool { return 0 <= y.Low && y.Low <= y.High && y.High <= 1e13 }

// times is n times the range.
func (y Yen) times(n float64) Yen { return Yen{int64(float64(y.Low) * n), int64(float64(y.High) * n)} }

func (y Yen) plus(o Yen) Yen { return Yen{y.Low + o.Low, y.High + o.High} }

// Price is a price with where it comes from.
type Price struct {
	Key    string `json:"key"` // see PriceKeys
	Yen    Yen    `json:"yen"`
	Source string `json:"source"`
}

// Keys of prices: yen per hour of own staff, for an investigation from outside,
// and per day of vendors until everything runs.
const (
	StaffHour     = "staff-hour"
	Investigation = "investigation"
	VendorDay     = "vendor-day"
)

// PriceKeys lists them.
func PriceKeys() []string { return []string{StaffHour, Investigation, VendorDay} }

// Loss is what a service that stands still costs per hour, from an hour on: the
// first hours on paper cost little, cancelled operations cost much.
type Loss struct {
	Service string `json:"service"`
	From    int    `json:"from"` // hours after it stopped
	Yen     Yen    `json:"yen"`  // per hour
	Source  string `json:"source"`
}

// Target is what the BCP promises for a service, or for all of them.
type Target struct {
	Service string  `json:"service"` // empty: everything
	Hours   float64 `json:"hours"`   // until it runs; 0: none
	Loss    float64 `json:"loss"`    // hours of data that may be lost; 0: none
}

// Terms are prices, losses and targets of a plan.
type Terms struct {
	Plan    string    `json:"plan"`
	Version int       `json:"version"`
	Prices  []Price   `json:"prices"`
	Losses  []Loss    `json:"losses"`
	Targets []Target  `json:"targets"`
	Records float64   `json:"records"` // written on paper per hour
	Minutes float64   `json:"minutes"` // to key in one of them
	At      time.Time `json:"at"`
	By      string    `json:"by"`
}

// Check refuses numbers that cannot be, and a price without its source.
func (t *Terms) Check() error {
	if len(t.Prices) > 20 || len(t.Losses) > 300 || len(t.Targets) > 100 || !(t.Records >= 0 && t.Records <= 1e6) || !(t.Minutes >= 0 && t.Minutes <= 1e4) {
		return fault.New(fault.Invalid, "protect.forecast.terms")
	}
	for i := range t.Prices {
		p := &t.Prices[i]
		p.Source = strings.TrimSpace(p.Source)
		if !slices.Contains(PriceKeys(), p.Key) || !p.Yen.ok() {
			return fault.New(fault.Invalid, "protect.forecast.terms")
		}
		if p.Source == "" || utf8.RuneCountInString(p.Source) > 500 {
			return fault.New(fault.Invalid, "protect.forecast.source")
		}
	}
	for i := range t.Losses {
		l := &t.Losses[i]
		l.Source = strings.TrimSpace(l.Source)
		if !l.Yen.ok() || l.From < 0 || l.From > 9000 {
			return fault.New(fault.Invalid, "protect.forecast.terms")
		}
		if l.Source == "" || utf8.RuneCountInString(l.Source) > 500 {
			return fault.New(fault.Invalid, "protect.forecast.source")
		}
	}
	for _, x := range t.Targets {
		if !(x.Hours >= 0 && x.Hours <= 9000 && x.Loss >= 0 && x.Loss <= 9000) {
			return fault.New(fault.Invalid, "protect.forecast.terms")
		}
	}
	slices.SortStableFunc(t.Losses, func(a, b Loss) int {
		if c := strings.Compare(a.Service, b.Service); c != 0 {
			return c
		}
		return a.From - b.From
	})
	return nil
}

// price is the price of a key, zero when nobody has stated it.
func (t *Terms) price(key string) Yen {
	for _, p := range t.Prices {
		if p.Key == key {
			return p.Yen
		}
	}
	return Yen{}
}

// target is what is promised for a service.
func (t *Terms) target(service string) Target {
	for _, x := range t.Targets {
		if x.Service == service {
			return x
		}
	}
	return Target{Service: service}
}

// lost is what a service costs that stands still for so many hours: the sum
// over its steps.
func (t *Terms) lost(service string, hours float64) Yen {
	sum := Yen{}
	var steps []Loss
	for _, l := range t.Losses {
		if l.Service == service {
			steps = append(steps, l)
		}
	}
	for i, l := range steps {
		until := hours
		if i+1 < len(steps) {
			until = min(hours, float64(steps[i+1].From))
		}
		if until > float64(l.From) {
			sum = sum.plus(l.Yen.times(until - float64(l.From)))
		}
	}
	return sum
}

// Assumed are terms to begin with. They are assumptions and say so (source):
// replace them by those of the hospital's own accounts. What the medical record
// loses per hour follows from what one hospital published (Osaka General Medical
// Center, 2022: more than a thousand million yen in two months, 865 beds),
// scaled to 300 beds.
func Assumed(p plan.Plan, source string) Terms {
	t := Terms{Plan: p.ID, Records: 40, Minutes: 6}
	for _, price := range []Price{{Key: StaffHour, Yen: Yen{3000, 5000}}, {Key: Investigation, Yen: Yen{5_000_000, 30_000_000}}, {Key: VendorDay, Yen: Yen{300_000, 1_000_000}}} {
		price.Source = source
		t.Prices = append(t.Prices, price)
	}
	if p.Service("emr") != nil {
		t.Losses = []Loss{{"emr", 0, Yen{50_000, 100_000}, source}, {"emr", 8, Yen{100_000, 250_000}, source}, {"emr", 72, Yen{200_000, 400_000}, source}}
	}
	return t
}
