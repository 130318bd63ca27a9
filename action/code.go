package action

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
)

// code is the release code of an action: 80 bits of a keyed hash of its id in
// Crockford's base 32, which leaves out letters that are mistaken for others.
// The hub can always make it again and stores it nowhere; the agent gets its
// hash only.
func (d *Desk) code(id string) string {
	mac := hmac.New(sha256.New, d.key.Seed())
	mac.Write([]byte("sonae release code v1\n" + id))
	s := base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding).EncodeToString(mac.Sum(nil)[:10])
	return s[:4] + "-" + s[4:8] + "-" + s[8:12] + "-" + s[12:]
}
