// Package mail carries messages by SMTP.
//
// In: a channel with its server, sender and password, a message. Out: one mail
// to one person. Always true: nothing is sent but over TLS to a server whose
// certificate is right, by STARTTLS or, at port 465, from the first byte; a
// message that is sent again has the same Message-ID.
package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/notify"
)

// Sender implements notify.Sender. It is safe for concurrent use.
type Sender struct{}

const (
	sendFor = 25 * time.Second
	smtps   = 465
)

// Send implements notify.Sender.
func (Sender) Send(ctx context.Context, c notify.Channel, s notify.Secrets, to string, m notify.Message) error {
	msg, err := message(c, to, m)
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(c.Server)
	if err != nil {
		return fmt.Errorf("mail server: %w", err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("mail server: port %q: %w", port, err)
	}
	trust, err := trusted(c.CA, host)
	if err != nil {
		return err
	}
	options := []mail.Option{mail.WithPort(number), mail.WithTimeout(sendFor), mail.WithTLSPolicy(mail.TLSMandatory), mail.WithTLSConfig(trust), mail.WithHELO("localhost")}
	if number == smtps {
		options = append(options, mail.WithSSL())
	}
	if c.User != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(c.User), mail.WithPassword(s.Password))
	}
	client, err := mail.NewClient(host, options...)
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	if err := client.DialAndSendWithContext(ctx, msg); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	return nil
}

func message(c notify.Channel, to string, m notify.Message) (*mail.Msg, error) {
	msg := mail.NewMsg()
	if err := errors.Join(msg.From(c.From), msg.To(to)); err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	msg.Subject(m.Subject)
	msg.SetDateWithValue(m.At)
	_, domain, _ := strings.Cut(c.From, "@")
	msg.SetMessageIDWithValue(m.ID + "@" + domain)
	msg.SetGenHeader("X-Sonae-Id", m.ID)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no answering machine answers
	if m.Severity == event.Critical {
		msg.SetImportance(mail.ImportanceHigh)
	}
	msg.SetBodyString(mail.TypeTextPlain, m.Text)
	return msg, nil
}

var errNoAuthority = errors.New("mail: the authorities hold no certificate")

// trusted is the TLS of a server that an authority of ca vouches for.
func trusted(ca, host string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if ca == "" {
		return c, nil
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM([]byte(ca)) {
		return nil, errNoAuthority
	}
	return c, nil
}
