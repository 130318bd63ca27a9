package notify

import (
	"slices"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
)

// Contact is how a person is reached.
type Contact struct {
	Person string `json:"person"` // id
	Mail   string `json:"mail"`
	Phone  string `json:"phone"`
	// Chat is the kind of the person's own chat, "" for none; its address is
	// sealed.
	Chat  Kind  `json:"chat"`
	Quiet Quiet `json:"quiet"`
}

// Quiet are hours in which only what is critical (緊急) is told at once, in
// minutes of the day in Japan. From after Until goes over midnight; equal: none.
type Quiet struct {
	From  int `json:"from"`
	Until int `json:"until"`
}

const day = 24 * 60 // minutes

func (q Quiet) check() error {
	if q.From < 0 || q.From >= day || q.Until < 0 || q.Until >= day {
		return fault.New(fault.Invalid, "notify.quiet")
	}
	return nil
}

// Ends returns when the quiet hours that hold at a moment end, and whether any
// hold.
func (q Quiet) Ends(at time.Time) (time.Time, bool) {
	at = at.In(clock.Tokyo())
	now := at.Hour()*60 + at.Minute()
	inside := now >= q.From && now < q.Until
	if q.From > q.Until {
		inside = now >= q.From || now < q.Until
	}
	if !inside {
		return time.Time{}, false
	}
	end := time.Date(at.Year(), at.Month(), at.Day(), 0, q.Until, 0, 0, at.Location())
	if !end.After(at) {
		end = end.AddDate(0, 0, 1)
	}
	return end, true
}

// wakes returns when a person may be told of something: now, or when the quiet
// hours are over.
func (c Contact) wakes(s event.Severity, at time.Time) time.Time {
	if end, quiet := c.Quiet.Ends(at); quiet && s < event.Critical {
		return end
	}
	return at
}

func (c Contact) check(chat string) error {
	switch {
	case c.Mail != "" && !isMail(c.Mail):
		return fault.New(fault.Invalid, "notify.mail")
	case c.Phone != "" && !phoneNumber.MatchString(c.Phone):
		return fault.New(fault.Invalid, "notify.phone")
	case c.Chat != "" && !slices.Contains(Chats(), c.Chat):
		return fault.New(fault.Invalid, "notify.kind")
	case c.Chat != "":
		if err := checkURL(chat); err != nil {
			return err
		}
	}
	return c.Quiet.check()
}

// address is where a channel reaches the person; "" when it does not.
func (c Contact) address(ch Channel, chat string) string {
	switch {
	case ch.Kind == Mail:
		return c.Mail
	case ch.Kind == Phone || ch.Kind == SMS:
		return c.Phone
	case c.Chat == ch.Kind:
		return chat
	}
	return ""
}

// reaches says whether a channel reaches the person.
func (c Contact) reaches(ch Channel) bool { return c.address(ch, "set") != "" }

// Shift is when a person is on call (当番).
type Shift struct {
	ID     string    `json:"id"`
	Site   string    `json:"site"` // "": all sites
	Person string    `json:"person"`
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
	Order  int       `json:"order"` // 1 is told first
	SetBy  string    `json:"set_by,omitempty"`
}

const (
	maxShift = 366 * 24 * time.Hour
	maxOrder = 20
)

func (s Shift) check() error {
	switch {
	case s.Person == "":
		return fault.New(fault.Invalid, "notify.person")
	case !s.Until.After(s.From) || s.Until.Sub(s.From) > maxShift:
		return fault.New(fault.Invalid, "notify.shift-time")
	case s.Order < 1 || s.Order > maxOrder:
		return fault.New(fault.Invalid, "notify.order", maxOrder)
	}
	return nil
}

// holds says whether the shift is on for a site at a moment.
func (s Shift) holds(site string, at time.Time) bool {
	return (s.Site == "" || s.Site == site) && !at.Before(s.From) && at.Before(s.Until)
}
