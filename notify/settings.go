package notify

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Channels lists the channels, the oldest first.
func (d *Desk) Channels(ctx context.Context) ([]Channel, error) {
	all, err := list[Channel](d.db.Query(ctx, `SELECT body FROM notify_channel ORDER BY id`))
	if err != nil {
		return nil, fmt.Errorf("list channels: %w", err)
	}
	return all, nil
}

// Channel returns one.
func (d *Desk) Channel(ctx context.Context, id string) (Channel, error) {
	c, ok, err := one[Channel](d.db.QueryRow(ctx, `SELECT body FROM notify_channel WHERE id = $1`, id))
	if err != nil {
		return c, fmt.Errorf("channel %s: %w", id, err)
	}
	if !ok {
		return c, fault.New(fault.Missing, "notify.channel-unknown")
	}
	return c, nil
}

// SaveChannel adds a channel (empty ID) or changes one. A secret that is empty
// stays as it was; the kind of a channel stays what it is.
func (d *Desk) SaveChannel(ctx context.Context, c Channel, given Secrets, by auth.Person) (Channel, error) {
	var s Secrets
	if c.ID == "" {
		c.ID = clock.ID("ch", d.Now())
	} else {
		old, err := d.Channel(ctx, c.ID)
		if err != nil {
			return c, err
		}
		c.Kind = old.Kind
		if s, err = d.secrets(ctx, c.ID); err != nil {
			return c, err
		}
	}
	for to, v := range map[*string]string{&s.URL: given.URL, &s.Password: given.Password, &s.Key: given.Key} {
		if v != "" {
			*to = v
		}
	}
	c.CA = strings.ReplaceAll(strings.TrimSpace(c.CA), "\r\n", "\n")
	if err := c.check(s); err != nil {
		return c, err
	}
	if s, ok := d.Senders[c.Kind].(checker); ok {
		if err := s.Check(ctx, c); err != nil {
			return c, err
		}
	}
	c.URLSet, c.SetBy = s.URL != "", by.ID
	sealed, err := d.seal(s, "channel/"+c.ID)
	if err != nil {
		return c, err
	}
	return c, d.change(ctx, "channel", c.ID, state.JSON(c), by, `INSERT INTO notify_channel (id, body, sealed) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET body = excluded.body, sealed = excluded.sealed`, c.ID, state.JSON(c), sealed)
}

// RemoveChannel forgets a channel that no chain uses.
func (d *Desk) RemoveChannel(ctx context.Context, id string, by auth.Person) error {
	if _, err := d.Channel(ctx, id); err != nil {
		return err
	}
	chains, err := d.Chains(ctx, "")
	if err != nil {
		return err
	}
	for _, c := range chains {
		for _, s := range c.Steps {
			for _, used := range s.Channels {
				if used == id {
					return fault.New(fault.Conflict, "notify.channel-used", c.Name)
				}
			}
		}
	}
	return d.change(ctx, "channel", id, removed, by, `DELETE FROM notify_channel WHERE id = $1`, id)
}

// Contacts lists how people are reached.
func (d *Desk) Contacts(ctx context.Context) ([]Contact, error) {
	all, err := list[Contact](d.db.Query(ctx, `SELECT body FROM notify_contact ORDER BY person`))
	if err != nil {
		return nil, fmt.Errorf("list contacts: %w", err)
	}
	return all, nil
}

// Contact returns that of a person, empty when there is none.
func (d *Desk) Contact(ctx context.Context, person string) (Contact, error) {
	c, _, err := one[Contact](d.db.QueryRow(ctx, `SELECT body FROM notify_contact WHERE person = $1`, person))
	c.Person = person
	if err != nil {
		return c, fmt.Errorf("contact of %s: %w", person, err)
	}
	return c, nil
}

// SaveContact says how a person is reached. An empty address of the chat stays
// as it was while the kind of the chat does.
func (d *Desk) SaveContact(ctx context.Context, c Contact, chat string, by auth.Person) error {
	old, err := d.Contact(ctx, c.Person)
	if err != nil {
		return err
	}
	if chat == "" && c.Chat == old.Chat && c.Chat != "" {
		if chat, err = d.chat(ctx, c.Person); err != nil {
			return err
		}
	}
	if c.Chat == "" {
		chat = ""
	}
	if err := c.check(chat); err != nil {
		return err
	}
	sealed, err := d.seal(chat, "contact/"+c.Person)
	if err != nil {
		return err
	}
	// the record says what was set, not to what: it stays, while a person's
	// address must be able to go
	what := fmt.Sprintf("mail=%t phone=%t chat=%s quiet=%d-%d", c.Mail != "", c.Phone != "", c.Chat, c.Quiet.From, c.Quiet.Until)
	return d.change(ctx, "contact", c.Person, what, by, `INSERT INTO notify_contact (person, body, sealed) VALUES ($1, $2, $3)
		ON CONFLICT (person) DO UPDATE SET body = excluded.body, sealed = excluded.sealed`, c.Person, state.JSON(c), sealed)
}

// Shifts lists who is on call now and later, the earliest first.
func (d *Desk) Shifts(ctx context.Context) ([]Shift, error) {
	all, err := list[Shift](d.db.Query(ctx, `SELECT body FROM notify_shift WHERE until_at > $1 ORDER BY until_at, id LIMIT 2000`, state.Nanos(d.Now())))
	if err != nil {
		return nil, fmt.Errorf("list shifts: %w", err)
	}
	return all, nil
}

// AddShift says that a person is on call.
func (d *Desk) AddShift(ctx context.Context, s Shift, by auth.Person) (Shift, error) {
	if err := s.check(); err != nil {
		return s, err
	}
	if !s.Until.After(d.Now()) {
		return s, fault.New(fault.Invalid, "notify.shift-time")
	}
	s.From, s.Until = s.From.UTC(), s.Until.UTC()
	s.ID, s.SetBy = clock.ID("sh", d.Now()), by.ID
	return s, d.change(ctx, "shift", s.ID, state.JSON(s), by, `INSERT INTO notify_shift (id, until_at, body) VALUES ($1, $2, $3)`, s.ID, state.Nanos(s.Until), state.JSON(s))
}

// Shift returns one.
func (d *Desk) Shift(ctx context.Context, id string) (Shift, error) {
	s, ok, err := one[Shift](d.db.QueryRow(ctx, `SELECT body FROM notify_shift WHERE id = $1`, id))
	if err != nil {
		return s, fmt.Errorf("shift %s: %w", id, err)
	}
	if !ok {
		return s, fault.New(fault.Missing, "notify.shift-unknown")
	}
	return s, nil
}

// RemoveShift takes a shift back.
func (d *Desk) RemoveShift(ctx context.Context, id string, by auth.Person) error {
	if _, err := d.Shift(ctx, id); err != nil {
		return err
	}
	return d.change(ctx, "shift", id, removed, by, `DELETE FROM notify_shift WHERE id = $1`, id)
}

// Chains lists the chains of a site and of all sites; of everywhere when site is
// empty.
func (d *Desk) Chains(ctx context.Context, site string) ([]Chain, error) {
	all, err := list[Chain](d.db.Query(ctx, `SELECT body FROM notify_chain ORDER BY id`))
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	if site == "" {
		return all, nil
	}
	var out []Chain
	for _, c := range all {
		if c.Site == "" || c.Site == site {
			out = append(out, c)
		}
	}
	return out, nil
}

// Chain returns one.
func (d *Desk) Chain(ctx context.Context, id string) (Chain, error) {
	c, ok, err := one[Chain](d.db.QueryRow(ctx, `SELECT body FROM notify_chain WHERE id = $1`, id))
	if err != nil {
		return c, fmt.Errorf("chain %s: %w", id, err)
	}
	if !ok {
		return c, fault.New(fault.Missing, "notify.chain-unknown")
	}
	return c, nil
}

// SaveChain adds a chain (empty ID) or changes one. Calls that go on keep the
// chain as it was.
func (d *Desk) SaveChain(ctx context.Context, c Chain, by auth.Person) (Chain, error) {
	if err := c.check(); err != nil {
		return c, err
	}
	for no, s := range c.Steps {
		if err := d.complete(ctx, s, no+1); err != nil {
			return c, err
		}
	}
	if c.ID == "" {
		c.ID = clock.ID("cn", d.Now())
	} else if _, err := d.Chain(ctx, c.ID); err != nil {
		return c, err
	}
	c.SetBy = by.ID
	return c, d.change(ctx, "chain", c.ID, state.JSON(c), by, `INSERT INTO notify_chain (id, body) VALUES ($1, $2)
		ON CONFLICT (id) DO UPDATE SET body = excluded.body`, c.ID, state.JSON(c))
}

// complete wants a step to reach somebody: its channels exist, and it names
// people unless all of them are rooms.
func (d *Desk) complete(ctx context.Context, s Step, no int) error {
	rooms := true
	for _, id := range s.Channels {
		c, err := d.Channel(ctx, id)
		if err != nil {
			return err
		}
		rooms = rooms && c.Kind.Room()
	}
	if !rooms && s.OnCall == 0 && len(s.People) == 0 {
		return fault.New(fault.Invalid, "notify.step-people", no)
	}
	return nil
}

// RemoveChain forgets a chain. Calls that go on keep it.
func (d *Desk) RemoveChain(ctx context.Context, id string, by auth.Person) error {
	if _, err := d.Chain(ctx, id); err != nil {
		return err
	}
	return d.change(ctx, "chain", id, removed, by, `DELETE FROM notify_chain WHERE id = $1`, id)
}

// secrets opens the secrets of a channel.
func (d *Desk) secrets(ctx context.Context, id string) (s Secrets, err error) {
	return s, d.unseal(ctx, `SELECT sealed FROM notify_channel WHERE id = $1`, id, "channel/"+id, &s)
}

// chat opens the address of a person's chat.
func (d *Desk) chat(ctx context.Context, person string) (address string, err error) {
	return address, d.unseal(ctx, `SELECT sealed FROM notify_contact WHERE person = $1`, person, "contact/"+person, &address)
}

func (d *Desk) seal(v any, purpose string) (string, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	sealed, err := d.Keys.Seal(plain, []byte("notify/"+purpose))
	if err != nil {
		return "", fmt.Errorf("seal %s: %w", purpose, err)
	}
	return base64.StdEncoding.EncodeToString(sealed), nil
}

// unseal opens what a row holds; a row that is gone holds nothing.
func (d *Desk) unseal(ctx context.Context, query, id, purpose string, into any) error {
	var text string
	err := d.db.QueryRow(ctx, query, id).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	sealed, plain := []byte(nil), []byte(nil)
	if err == nil {
		sealed, err = base64.StdEncoding.DecodeString(text)
	}
	if err == nil {
		plain, err = d.Keys.Unseal(sealed, []byte("notify/"+purpose))
	}
	if err == nil {
		err = json.Unmarshal(plain, into)
	}
	if err != nil {
		return fmt.Errorf("open secrets of %s: %w", purpose, err)
	}
	return nil
}

// testFor bounds a test, which somebody waits for.
const testFor = 20 * time.Second
