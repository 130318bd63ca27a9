package notify

import (
	"crypto/x509"
	"net"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/fault"
)

// Kind is how a channel carries messages.
type Kind string

// Kinds of channels.
const (
	Mail      Kind = "mail"
	JSON      Kind = "json" // a program of the site
	Slack     Kind = "slack"
	Teams     Kind = "teams"
	LineWorks Kind = "lineworks"
	Phone     Kind = "phone"   // a gateway that calls and reads aloud
	SMS       Kind = "sms"     // a gateway that sends short messages
	Desktop   Kind = "desktop" // the screens of machines, through their agents
)

// Kinds in the order of forms.
func Kinds() []Kind { return []Kind{Mail, SMS, Phone, Slack, Teams, LineWorks, JSON, Desktop} }

// Chats are the kinds that a person can have for themselves.
func Chats() []Kind { return []Kind{Slack, Teams, LineWorks, JSON} }

// Room says whether a channel of the kind has an address of its own, so that
// it can be told without naming a person.
func (k Kind) Room() bool { return k == Desktop || slices.Contains(Chats(), k) }

// Channel is a way to people.
type Channel struct {
	ID     string   `json:"id"`
	Kind   Kind     `json:"kind"`
	Name   string   `json:"name"`
	Server string   `json:"server,omitempty"` // mail: host:port; port 465 is TLS from the first byte, others STARTTLS
	User   string   `json:"user,omitempty"`   // mail: empty: it asks for none
	From   string   `json:"from,omitempty"`   // mail: sender
	CA     string   `json:"ca,omitempty"`     // PEM: the authorities that are trusted; empty: those of the system
	Most   int      `json:"most"`             // messages in a minute; 0: 30
	Hosts  []string `json:"hosts,omitempty"`  // desktop: names of machines
	// URLSet says that an address is kept. Addresses of chats are secrets:
	// whoever knows one can write there.
	URLSet bool   `json:"url_set"`
	SetBy  string `json:"set_by,omitempty"`
}

// Secrets are what is sealed of a channel.
type Secrets struct {
	URL      string `json:"url,omitempty"`
	Password string `json:"password,omitempty"` // mail
	Key      string `json:"key,omitempty"`      // others: key of the signature
}

const (
	defaultMost = 30
	maxMost     = 600
	maxName     = 100
	maxCA       = 64 << 10
	maxURL      = 2000
	maxSecret   = 500
	maxHosts    = 200
)

func (c Channel) most() int {
	if c.Most == 0 {
		return defaultMost
	}
	return c.Most
}

// check says what a channel lacks, as Invalid.
func (c Channel) check(s Secrets) error {
	switch {
	case !slices.Contains(Kinds(), c.Kind):
		return fault.New(fault.Invalid, "notify.kind")
	case !plain(c.Name, maxName) || c.Name == "":
		return fault.New(fault.Invalid, "notify.name")
	case c.Most < 0 || c.Most > maxMost:
		return fault.New(fault.Invalid, "notify.most", maxMost)
	case len(c.CA) > maxCA || c.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(c.CA)):
		return fault.New(fault.Invalid, "notify.ca")
	case len(s.Password) > maxSecret || len(s.Key) > maxSecret:
		return fault.New(fault.Invalid, "notify.secret-long", maxSecret)
	case c.Kind == Mail:
		return c.checkMail()
	case c.Kind == Desktop:
		if len(c.Hosts) == 0 || len(c.Hosts) > maxHosts || slices.ContainsFunc(c.Hosts, func(h string) bool { return h == "" || !plain(h, maxName) }) {
			return fault.New(fault.Invalid, "notify.hosts", maxHosts)
		}
		return nil
	}
	return checkURL(s.URL)
}

func (c Channel) checkMail() error {
	host, port, err := net.SplitHostPort(c.Server)
	if err != nil || host == "" || port == "" || !plain(c.Server, 300) {
		return fault.New(fault.Invalid, "notify.server")
	}
	if !isMail(c.From) || !plain(c.User, 200) {
		return fault.New(fault.Invalid, "notify.from")
	}
	return nil
}

// checkURL wants TLS. Programs of this machine are reached without.
func checkURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || len(address) > maxURL {
		return fault.New(fault.Invalid, "notify.url")
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "https" && !(u.Scheme == "http" && ip != nil && ip.IsLoopback()) {
		return fault.New(fault.Invalid, "notify.url")
	}
	return nil
}

// isMail says whether an address is one, without a name before it.
func isMail(address string) bool {
	a, err := mail.ParseAddress(address)
	return err == nil && a.Address == address && len(address) <= 254 && plain(address, 254)
}

var phoneNumber = regexp.MustCompile(`^\+?[0-9][0-9-]{2,24}$`)

// plain says whether a text is one line of at most n bytes.
func plain(s string, n int) bool {
	return len(s) <= n && utf8.ValidString(s) && strings.TrimSpace(s) == s && strings.IndexFunc(s, unicode.IsControl) < 0
}
