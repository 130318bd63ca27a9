package playbook

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/playbook/cacao"
)

// Trust is what a signature of a playbook is worth here.
type Trust string

// Worths of signatures.
const (
	Verified    Trust = "verified"     // it fits, and the key is this hub's
	UnknownKey  Trust = "unknown-key"  // it fits, but nothing here says whose key that is
	NotVerified Trust = "not-verified" // it does not fit, or does not count
)

// Signed is one signature of a playbook.
type Signed struct {
	Trust   Trust  `json:"trust"`
	Signee  string `json:"signee"`  // as the signature says
	Created string `json:"created"` // as the signature says
	Key     string `json:"key"`     // hex SHA-256 of the key (SPKI), to compare by telephone; "" when none can be read
	Why     string `json:"why"`     // why it is not verified
}

// Signatures judges the signatures of a playbook.
func (d *Desk) Signatures(b *Book) []Signed {
	out := []Signed{}
	for _, v := range cacao.Verify(b.Source, d.deps.Now()) {
		s := Signed{Trust: UnknownKey, Signee: v.Signature.Signee, Created: v.Signature.Created}
		if v.Key != nil {
			if der, err := x509.MarshalPKIXPublicKey(v.Key); err == nil {
				sum := sha256.Sum256(der)
				s.Key = hex.EncodeToString(sum[:])
			}
		}
		own, ok := v.Key.(ed25519.PublicKey)
		switch {
		case v.Err != nil:
			s.Trust, s.Why = NotVerified, v.Err.Error()
		case ok && d.deps.Key != nil && own.Equal(d.deps.Key.Public()):
			s.Trust = Verified
		}
		out = append(out, s)
	}
	return out
}

// Sign keeps a version of a playbook that carries a signature of this hub, beside
// those that it has. Who asked for it is the one who imported that version.
func (d *Desk) Sign(ctx context.Context, id string, by auth.Person) (*Book, error) {
	b, err := d.Book(ctx, id)
	if err != nil {
		return nil, err
	}
	if d.deps.Key == nil {
		return nil, fault.New(fault.Conflict, "playbook.no-key")
	}
	for _, s := range d.Signatures(b) {
		if s.Trust == Verified {
			return nil, fault.New(fault.Conflict, "playbook.signed")
		}
	}
	now := d.moment().UTC().Format("2006-01-02T15:04:05.000Z")
	text, err := cacao.Sign(b.Source, d.deps.Key, cacao.Signature{ID: "jss--" + uuid.NewString(), CreatedBy: b.play.CreatedBy, Created: now, Modified: now,
		Signee: "Sonae", ValidFrom: now, ValidUntil: d.moment().UTC().Add(signedFor).Format("2006-01-02T15:04:05.000Z"), RelatedTo: b.ID, RelatedVersion: b.Modified()})
	if err != nil {
		return nil, fmt.Errorf("sign playbook %s: %w", b.ID, err)
	}
	return d.Import(ctx, text, by)
}

// signedFor is how long a signature of ours counts: a playbook that nobody looked
// at for so long should be looked at.
const signedFor = 3 * 365 * 24 * time.Hour
