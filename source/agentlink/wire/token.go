package wire

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Token is what a person carries from the hub's page to the machine that shall
// be enrolled. CA lets the machine recognise the hub before it trusts it.
type Token struct {
	Hub    string `json:"hub"`    // URL of the agent port, e.g. https://hub.example:7443
	CA     string `json:"ca"`     // hex SHA-256 of the DER of the hub's authority
	Secret string `json:"secret"` // one-time secret
}

// maxToken bounds what ParseToken looks at.
const maxToken = 4096

// ErrToken says that a text is no enrolment token. It never repeats the text,
// which may be a secret.
var ErrToken = errors.New("not an enrolment token")

// Encode returns the one-line form: base64url of JSON, without padding.
func (t Token) Encode() string {
	b, err := json.Marshal(t)
	if err != nil {
		panic("wire: encode token: " + err.Error()) // three strings always encode
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseToken reads what Encode wrote, with white space around it.
func ParseToken(s string) (Token, error) {
	s = strings.TrimRight(strings.TrimSpace(s), "=")
	if len(s) > maxToken {
		return Token{}, ErrToken
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return Token{}, ErrToken
	}
	var t Token
	if err := json.Unmarshal(b, &t); err != nil {
		return Token{}, ErrToken
	}
	if sum, err := hex.DecodeString(t.CA); err != nil || len(sum) != 32 || t.Secret == "" {
		return Token{}, ErrToken
	}
	if err := CheckHub(t.Hub); err != nil {
		return Token{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	return t, nil
}

// CheckHub says whether u can be the address of a hub's agent port.
func CheckHub(u string) error {
	p, err := url.Parse(u)
	if err != nil || p.Scheme != "https" || p.Hostname() == "" || p.User != nil || strings.Trim(p.Path, "/") != "" {
		return errors.New("the hub's address must look like https://name:port")
	}
	return nil
}
