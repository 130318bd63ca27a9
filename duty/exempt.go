package duty

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/sonae/sonae/state"
)

// Signature is what the exemption lacks until a second person signed it.
const Signature = "signature"

// ExemptionRule says what proves that nobody else can read the data.
type ExemptionRule struct {
	Required []string   `yaml:"required"` // parts that all must be there
	OneOf    [][]string `yaml:"one_of"`   // groups of which one must be complete
	Never    []string   `yaml:"never_if"` // an answer Yes ends it
	Origin   `yaml:",inline"`
}

// exempt holds the claim against what the rules require. sign is the last
// decision about an exemption, if there was one.
func (r Rules) exempt(f Facts, sign *Decision) Exempt {
	e := Exempt{Claimed: f.answer("encrypted") == Yes, Lacks: []string{}, Digest: f.claim()}
	if !e.Claimed {
		return e
	}
	for _, part := range r.Exemption.Required {
		if !f.Exemption.has(part) {
			e.Lacks = append(e.Lacks, part)
		}
	}
	complete := func(group []string) bool {
		return !slices.ContainsFunc(group, func(part string) bool { return !f.Exemption.has(part) })
	}
	if !slices.ContainsFunc(r.Exemption.OneOf, complete) {
		e.Lacks = append(e.Lacks, "key")
	}
	for _, part := range r.Exemption.Never {
		if f.Exemption.Answer(part) != No { // it must be ruled out, not only unheard of
			e.Lacks = append(e.Lacks, part)
		}
	}
	if sign != nil && sign.Choice == Accept && sign.Digest == e.Digest {
		e.By = sign.By
	} else {
		e.Lacks = append(e.Lacks, Signature)
	}
	e.Holds = len(e.Lacks) == 0
	return e
}

// Complete says whether only the signature is missing.
func (e Exempt) Complete() bool {
	return e.Claimed && len(e.Lacks) == 1 && e.Lacks[0] == Signature
}

func (p Proof) has(part string) bool {
	switch part {
	case "algorithm":
		return p.Algorithm != ""
	case "evidence":
		return p.Evidence != ""
	}
	return p.Answer(part) == Yes
}

// claim is the digest of what a signature is for: the proof, and which data it
// is about.
func (f Facts) claim() string {
	sum := sha256.Sum256([]byte(state.JSON(struct {
		Proof             Proof
		Medium, DataItems string
	}{f.Exemption, f.Items.Medium, f.Items.DataItems})))
	return hex.EncodeToString(sum[:])
}

func (e ExemptionRule) check() error {
	var parts []string
	for name := range new(Proof).answers() {
		parts = append(parts, name)
	}
	for _, name := range slices.Concat(slices.Concat(e.OneOf...), e.Never) {
		if !slices.Contains(parts, name) {
			return fmt.Errorf("exemption: unknown part %q", name)
		}
	}
	parts = append(parts, "algorithm", "evidence")
	for _, name := range e.Required {
		if !slices.Contains(parts, name) {
			return fmt.Errorf("exemption: unknown part %q", name)
		}
	}
	if len(e.Required) == 0 || len(e.OneOf) == 0 {
		return fmt.Errorf("exemption: nothing is required")
	}
	return e.Origin.check("exemption")
}
