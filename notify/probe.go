package notify

import (
	"context"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
)

// Test sends a real message over a channel to whoever asks, or to the room of
// the channel when it does not reach them. It returns where the message went in
// words of the contact, e.g. the address of mail.
//
// Errors: Invalid when it reaches nobody; Conflict when it could not be sent,
// with what the other side said.
func (d *Desk) Test(ctx context.Context, id string, by auth.Person) (to string, err error) {
	ch, err := d.Channel(ctx, id)
	if err != nil {
		return "", err
	}
	secrets, err := d.secrets(ctx, id)
	if err != nil {
		return "", err
	}
	contact, err := d.Contact(ctx, by.ID)
	if err != nil {
		return "", err
	}
	chat, err := d.chat(ctx, by.ID)
	if err != nil {
		return "", err
	}
	address := contact.address(ch, chat)
	if to = address; ch.Kind.Room() {
		to = ch.Name // the address is a secret
	}
	if address == "" {
		address = secrets.URL
	}
	if address == "" && ch.Kind != Desktop || !ch.Kind.Room() && to == "" {
		return "", fault.New(fault.Invalid, "notify.test-nobody")
	}
	s, ok := d.Senders[ch.Kind]
	if !ok {
		return "", fault.New(fault.Invalid, "notify.kind")
	}
	ctx, cancel := context.WithTimeout(ctx, testFor)
	defer cancel()
	if err := s.Send(ctx, ch, secrets, address, d.testMessage(by)); err != nil {
		return "", fault.New(fault.Conflict, "notify.test-failed", cut(err.Error(), maxError)).With(err)
	}
	return to, nil
}

func (d *Desk) testMessage(by auth.Person) Message {
	now := d.Now().UTC()
	m := Message{ID: clock.ID("ms", now), At: now, Kind: "test", Lang: i18n.Japanese, Severity: event.Info, Count: 0, Link: d.Address() + "/notify", Items: []Item{}}
	if i18n.Known(by.Lang) {
		m.Lang = by.Lang
	}
	m.Subject = i18n.T(m.Lang, "notify.mail.test.subject", nil)
	m.Text = i18n.T(m.Lang, "notify.mail.test", map[string]string{"link": m.Link, "at": now.In(clock.Tokyo()).Format("2006-01-02 15:04:05"), "id": m.ID})
	return m
}
