package watcher

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/wneessen/go-mail"
)

// Mail is a mail server that takes messages over STARTTLS, or over TLS from the
// first byte at port 465.
type Mail struct {
	Server   string   `yaml:"server"` // host:port
	User     string   `yaml:"user"`   // empty: it asks for none
	Password string   `yaml:"password"`
	From     string   `yaml:"from"`
	To       []string `yaml:"to"`
	CA       string   `yaml:"ca"` // file of the authority that signed the server's certificate; empty: those of the system
}

func (m *Mail) name() string { return "mail" }

// subject and text say it in Japanese and English.
func (n Notice) subject() string {
	if n.Gone {
		return "【Sonae】ハブが応答しません / The hub does not answer"
	}
	return "【Sonae】ハブが復帰しました / The hub is back"
}

func (n Notice) text() string {
	at := func(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 -0700") }
	if n.Gone {
		return fmt.Sprintf("機器 %[1]s から見て、ハブ %[2]s が %[3]s から応答していません。\nこのあいだ、検知と警報は届きません。\n1. ハブの電源とネットワークを確かめてください。\n2. 思い当たる作業がなければ、攻撃で止められたものとして扱ってください。\n\n"+
			"Seen from %[1]s the hub %[2]s has not answered since %[3]s.\nNothing is detected or told meanwhile.\n1. Check the hub's power and network.\n2. Unless it is planned work, take it for an attack.\n", n.Agent, n.Hub, at(n.Since))
	}
	return fmt.Sprintf("機器 %[1]s から見て、ハブ %[2]s は %[3]s に復帰しました(%[4]s から応答なし)。\n\nSeen from %[1]s the hub %[2]s is back since %[3]s (it was silent from %[4]s).\n", n.Agent, n.Hub, at(n.At), at(n.Since))
}

func (m *Mail) send(ctx context.Context, n Notice) error {
	msg := mail.NewMsg()
	if err := errors.Join(msg.From(m.From), msg.To(m.To...)); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	msg.Subject(n.subject())
	msg.SetDateWithValue(n.At)
	msg.SetMessageID()
	msg.SetBodyString(mail.TypeTextPlain, n.text())
	host, port, err := net.SplitHostPort(m.Server)
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("mail: port %q: %w", port, err)
	}
	trust, err := trusted(m.CA)
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	trust.ServerName = host
	options := []mail.Option{mail.WithPort(number), mail.WithTimeout(sendFor), mail.WithTLSPolicy(mail.TLSMandatory), mail.WithTLSConfig(trust), mail.WithHELO("localhost")}
	if number == 465 {
		options = append(options, mail.WithSSL())
	}
	if m.User != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(m.User), mail.WithPassword(m.Password))
	}
	c, err := mail.NewClient(host, options...)
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	if err := c.DialAndSendWithContext(ctx, msg); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	return nil
}

// Hook is an address that takes a notice as JSON by POST.
type Hook struct {
	URL   string `yaml:"url"`
	Token string `yaml:"token"` // sent as bearer token, when it is set
	CA    string `yaml:"ca"`
}

func (h *Hook) name() string { return "webhook" }

func (h *Hook) send(ctx context.Context, n Notice) error {
	body, err := json.Marshal(struct {
		Notice
		Text string `json:"text"` // what chat services show
	}{n, n.subject() + "\n" + n.text()})
	if err != nil {
		return err
	}
	trust, err := trusted(h.CA)
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	q.Header.Set("Content-Type", "application/json")
	if h.Token != "" {
		q.Header.Set("Authorization", "Bearer "+h.Token)
	}
	t := &http.Transport{TLSClientConfig: trust, Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	c := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }} // the token is for this address
	r, err := c.Do(q)
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	defer r.Body.Close()
	_, _ = io.CopyN(io.Discard, r.Body, 64<<10)
	if r.StatusCode < 200 || r.StatusCode > 299 {
		return fmt.Errorf("webhook: the answer is %s", r.Status)
	}
	return nil
}

var errNoAuthority = errors.New("holds no certificate")

func trusted(ca string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca == "" {
		return c, nil
	}
	b, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s %w", ca, errNoAuthority)
	}
	return c, nil
}
