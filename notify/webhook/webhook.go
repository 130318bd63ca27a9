// Package webhook carries messages over HTTP: to programs of the site, to chats,
// and to gateways that call or send short messages.
//
// In: a channel with its address and key, a message. Out: one POST of JSON in
// the form that the kind of channel wants. Always true: only https, except to
// this machine; no redirect is followed, or the text would go where nobody
// meant it to; with a key every request is signed; a message that is sent again
// has the same X-Sonae-Id.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/notify"
)

// Sender implements notify.Sender. It is safe for concurrent use.
type Sender struct{ Now clock.Now }

// Send implements notify.Sender.
func (s Sender) Send(ctx context.Context, c notify.Channel, secrets notify.Secrets, to string, m notify.Message) error {
	address, form := to, any(nil)
	switch c.Kind {
	case notify.Phone, notify.SMS:
		address, form = secrets.URL, call(c.Kind, to, m)
	case notify.Slack:
		form = slack(m)
	case notify.Teams:
		form = teams(m)
	case notify.LineWorks:
		form = lineWorks(m)
	default:
		form = m
	}
	body, err := json.Marshal(form)
	if err != nil {
		return err
	}
	return s.post(ctx, c.CA, address, secrets.Key, m.ID, body)
}

func (s Sender) post(ctx context.Context, ca, address, key, id string, body []byte) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return errors.New("the address cannot be used") // the cause would quote it
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("User-Agent", "sonae")
	q.Header.Set("X-Sonae-Id", id)
	if key != "" {
		at := strconv.FormatInt(s.Now().Unix(), 10)
		q.Header.Set("X-Sonae-Timestamp", at)
		q.Header.Set("X-Sonae-Signature", "sha256="+Sign(key, at, body))
	}
	client, err := client(ca)
	if err != nil {
		return err
	}
	r, err := client.Do(q)
	if err != nil {
		return fmt.Errorf("web: %w", withoutAddress(err))
	}
	defer r.Body.Close()
	_, _ = io.CopyN(io.Discard, r.Body, 64<<10)
	if r.StatusCode < 200 || r.StatusCode > 299 {
		return fmt.Errorf("web: the answer is %s", r.Status)
	}
	return nil
}

// Sign returns the hex HMAC-SHA-256 of the time (Unix seconds), a full stop and
// the body, as receivers check it.
func Sign(key, at string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(at + "."))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// withoutAddress drops the address from an error: that of a chat is a secret.
func withoutAddress(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func client(ca string) (*http.Client, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return nil, errors.New("web: the authorities hold no certificate")
		}
	}
	t := &http.Transport{TLSClientConfig: trust, Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// slack escapes what Slack reads as marks.
func slack(m notify.Message) any {
	return struct {
		Text string `json:"text"`
	}{strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(m.Subject + "\n" + m.Text)}
}

// teams is an adaptive card, as Workflows of Teams take it.
func teams(m notify.Message) any {
	type block map[string]any
	card := block{
		"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
		"body": []block{
			{"type": "TextBlock", "text": literal(m.Subject), "weight": "Bolder", "wrap": true},
			{"type": "TextBlock", "text": strings.ReplaceAll(literal(m.Text), "\n", "\n\n"), "wrap": true},
		},
		"actions": []block{{"type": "Action.OpenUrl", "title": open(m), "url": m.Link}},
	}
	return block{"type": "message", "attachments": []block{{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}}}
}

// literal keeps what a watched machine chose from being read as Markdown, such
// as a link that says another address.
func literal(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "`", "\\`").Replace(s)
}

// lineWorks is what the Incoming Webhook of LINE WORKS takes; its title is
// short.
func lineWorks(m notify.Message) any {
	type text struct {
		Text string `json:"text"`
	}
	type button struct {
		Label string `json:"label"`
		URL   string `json:"url"`
	}
	return struct {
		Title  string `json:"title"`
		Body   text   `json:"body"`
		Button button `json:"button"`
	}{short(m.Subject, 100), text{short(m.Text, 1900)}, button{open(m), m.Link}}
}

func open(m notify.Message) string { return i18n.T(m.Lang, "notify.mail.open", nil) }

func short(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// call is what a gateway for telephones gets: whom, and what to say.
func call(kind notify.Kind, to string, m notify.Message) any {
	text := m.Subject
	if kind == notify.SMS {
		text += " " + m.Link
	}
	return struct {
		ID       string `json:"id"`
		Kind     string `json:"kind"` // phone | sms
		To       string `json:"to"`
		Lang     string `json:"lang"`
		Severity string `json:"severity"`
		Text     string `json:"text"`
	}{m.ID, string(kind), to, m.Lang, m.Severity.String(), text}
}
