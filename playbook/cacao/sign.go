package cacao

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // hashes that signatures name
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Signature is what stands in the list "signatures" of a playbook, in the form
// of the JSON Signature Scheme (ITU-T X.590) that CACAO 2.0 takes over.
type Signature struct {
	Type           string   `json:"type"` // jss
	ID             string   `json:"id,omitempty"`
	CreatedBy      string   `json:"created_by,omitempty"`
	Created        string   `json:"created,omitempty"`
	Modified       string   `json:"modified,omitempty"`
	Revoked        bool     `json:"revoked,omitempty"`
	Signee         string   `json:"signee,omitempty"`
	ValidFrom      string   `json:"valid_from,omitempty"`
	ValidUntil     string   `json:"valid_until,omitempty"`
	RelatedTo      string   `json:"related_to,omitempty"`
	RelatedVersion string   `json:"related_version,omitempty"` // modified of the playbook
	HashAlgorithm  string   `json:"hash_algorithm,omitempty"`
	Algorithm      string   `json:"algorithm,omitempty"`
	PublicKey      string   `json:"public_key,omitempty"`        // PEM, or its base64
	CertChain      []string `json:"public_cert_chain,omitempty"` // base64 of DER; the first is the signer's
	Value          string   `json:"value,omitempty"`             // base64url
}

// Verdict is what a signature is worth.
type Verdict struct {
	Signature Signature
	Key       crypto.PublicKey // nil when it names none that can be read
	Err       error            // nil: these bytes were signed with Key, for this version of this playbook, and at this time it counts
}

// maxSignatures bounds what is judged.
const maxSignatures = 20

// Why a signature does not count.
var (
	ErrNoKey      = errors.New("cacao: the signature holds no key that can be read")
	ErrUnknownWay = errors.New("cacao: the signature was made in a way that is not known here")
	ErrWrong      = errors.New("cacao: the signature does not fit the playbook")
	ErrOther      = errors.New("cacao: the signature is for another playbook or another version")
	ErrNotInForce = errors.New("cacao: the signature was revoked, or its time has not come or is over")
	ErrUnreadable = errors.New("cacao: the signature cannot be read")
	hashes        = map[string]crypto.Hash{"sha-256": crypto.SHA256, "sha256": crypto.SHA256, "sha-384": crypto.SHA384, "sha384": crypto.SHA384, "sha-512": crypto.SHA512, "sha512": crypto.SHA512}
)

// signed are the bytes that a signature is made over: the playbook with this
// signature alone, which has no value yet, in canonical form.
func signed(source []byte, signature json.RawMessage) ([]byte, error) {
	var all, own rest
	if err := json.Unmarshal(source, &all); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(signature, &own); err != nil {
		return nil, err
	}
	delete(own, "value")
	one, err := json.Marshal([]rest{own})
	if err != nil {
		return nil, err
	}
	all["signatures"] = one
	text, err := marshal(all)
	if err != nil {
		return nil, err
	}
	return Canonical(text)
}

// marshal is json.Marshal that leaves <, > and & as they are.
func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimRight(out.Bytes(), "\n"), err
}

// Sign adds a signature to a playbook's text, beside those that are there, and
// returns the new text. Every other property stays as it was.
func Sign(source []byte, key ed25519.PrivateKey, s Signature) ([]byte, error) {
	var all rest
	if err := json.Unmarshal(source, &all); err != nil {
		return nil, fmt.Errorf("sign playbook: %w", err)
	}
	var before []json.RawMessage
	if text, ok := all["signatures"]; ok {
		if err := json.Unmarshal(text, &before); err != nil {
			return nil, fmt.Errorf("sign playbook: %w", ErrUnreadable)
		}
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("sign playbook: %w", err)
	}
	s.Type, s.HashAlgorithm, s.Algorithm, s.Value = "jss", "sha-256", "Ed25519", ""
	s.PublicKey = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	open, err := marshal(s)
	if err != nil {
		return nil, fmt.Errorf("sign playbook: %w", err)
	}
	text, err := signed(source, open)
	if err != nil {
		return nil, fmt.Errorf("sign playbook: %w", err)
	}
	s.Value = base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, digest(crypto.SHA256, text)))
	closed, err := marshal(s)
	if err != nil {
		return nil, fmt.Errorf("sign playbook: %w", err)
	}
	if all["signatures"], err = marshal(append(before, closed)); err != nil {
		return nil, fmt.Errorf("sign playbook: %w", err)
	}
	out, err := marshal(all)
	if err != nil {
		return nil, fmt.Errorf("sign playbook: %w", err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, out, "", "  "); err != nil {
		return nil, fmt.Errorf("sign playbook: %w", err)
	}
	return indented.Bytes(), nil
}

// Verify judges every signature of a playbook's text. None is no error.
func Verify(source []byte, now time.Time) []Verdict {
	var all struct {
		ID         string          `json:"id"`
		Modified   string          `json:"modified"`
		Signatures json.RawMessage `json:"signatures"`
	}
	if err := json.Unmarshal(source, &all); err != nil || len(all.Signatures) == 0 {
		return nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(all.Signatures, &list); err != nil || len(list) > maxSignatures {
		return []Verdict{{Err: ErrUnreadable}}
	}
	var out []Verdict
	for _, raw := range list {
		v := Verdict{}
		if err := json.Unmarshal(raw, &v.Signature); err != nil {
			v.Err = ErrUnreadable
		} else {
			v.Key, v.Err = v.Signature.verify(source, raw)
		}
		if v.Err == nil && (v.Signature.RelatedTo != all.ID || v.Signature.RelatedVersion != all.Modified) {
			v.Err = ErrOther
		}
		if v.Err == nil && !v.Signature.inForce(now) {
			v.Err = ErrNotInForce
		}
		out = append(out, v)
	}
	return out
}

func (s Signature) inForce(now time.Time) bool {
	from, errFrom := time.Parse(time.RFC3339Nano, s.ValidFrom)
	until, errUntil := time.Parse(time.RFC3339Nano, s.ValidUntil)
	return !s.Revoked && (s.ValidFrom == "" || errFrom == nil && !now.Before(from)) && (s.ValidUntil == "" || errUntil == nil && now.Before(until))
}

func (s Signature) verify(source []byte, raw json.RawMessage) (crypto.PublicKey, error) {
	key := s.key()
	if key == nil {
		return nil, ErrNoKey
	}
	hash, ok := hashes[strings.ToLower(s.HashAlgorithm)]
	if !ok {
		return key, ErrUnknownWay
	}
	value, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(s.Value), "="))
	if err != nil || len(value) == 0 {
		return key, ErrWrong
	}
	text, err := signed(source, raw)
	if err != nil {
		return key, ErrWrong
	}
	return key, fits(key, strings.ToLower(s.Algorithm), hash, digest(hash, text), value)
}

func digest(h crypto.Hash, text []byte) []byte {
	sum := h.New()
	sum.Write(text)
	return sum.Sum(nil)
}

// fits checks the value over the digest, in the way that the key and the name of
// the algorithm both mean.
func fits(key crypto.PublicKey, algorithm string, hash crypto.Hash, sum, value []byte) error {
	ok := false
	switch k := key.(type) {
	case ed25519.PublicKey:
		if algorithm != "ed25519" && algorithm != "eddsa" {
			return ErrUnknownWay
		}
		ok = ed25519.Verify(k, sum, value)
	case *rsa.PublicKey:
		switch {
		case strings.HasPrefix(algorithm, "rs"):
			ok = rsa.VerifyPKCS1v15(k, hash, sum, value) == nil
		case strings.HasPrefix(algorithm, "ps"):
			ok = rsa.VerifyPSS(k, hash, sum, value, nil) == nil
		default:
			return ErrUnknownWay
		}
	case *ecdsa.PublicKey:
		if !strings.HasPrefix(algorithm, "es") && !strings.HasPrefix(algorithm, "ecdsa") {
			return ErrUnknownWay
		}
		ok = ecdsa.VerifyASN1(k, sum, value)
		if half := len(value) / 2; !ok && len(value)%2 == 0 { // the two numbers one after the other, as in JOSE
			ok = ecdsa.Verify(k, sum, new(big.Int).SetBytes(value[:half]), new(big.Int).SetBytes(value[half:]))
		}
	default:
		return ErrUnknownWay
	}
	if !ok {
		return ErrWrong
	}
	return nil
}

// key reads the key of the signature, nil when there is none. A certificate only
// carries one: nothing here says whom it belongs to.
func (s Signature) key() crypto.PublicKey {
	if len(s.CertChain) > 0 && s.PublicKey == "" {
		der, err := base64.StdEncoding.DecodeString(s.CertChain[0])
		if err != nil {
			return nil
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil
		}
		return cert.PublicKey
	}
	der := []byte(nil)
	if block, _ := pem.Decode([]byte(s.PublicKey)); block != nil {
		der = block.Bytes
	} else {
		text := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/", "\n", "", "\r", "").Replace(s.PublicKey), "=")
		var err error
		if der, err = base64.RawStdEncoding.DecodeString(text); err != nil {
			return nil
		}
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil
	}
	return key
}
