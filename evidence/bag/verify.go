package bag

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/ledger"
)

// ErrNotABag is returned for what is no bag at all.
var ErrNotABag = errors.New("not an evidence bag")

// Difference names one file that is not as it was sealed.
type Difference struct {
	File string `json:"file"` // from the bag's folder
	What string `json:"what"`
}

// String returns "file: what".
func (d Difference) String() string { return d.File + ": " + d.What }

// Report is the outcome of a check.
type Report struct {
	Bag         string       `json:"bag"`      // id
	Files       int          `json:"files"`    // in data/
	Bytes       int64        `json:"bytes"`    // in data/
	LoggedAt    time.Time    `json:"logged"`   // when the bag's digest was made, from the proof
	Stamped     bool         `json:"stamped"`  // a time stamp over the manifest is inside (its signature is checked elsewhere)
	OwnKey      bool         `json:"own_key"`  // no key was given: the bag was checked with the key it brings itself
	Exported    bool         `json:"exported"` // it has a custody record from after sealing
	Differences []Difference `json:"differences"`
}

// Intact says whether nothing differs.
func (r Report) Intact() bool { return len(r.Differences) == 0 }

// Verify checks the bag at path, a folder or a zip. verifierKey is the note
// verifier key of the hub's ledger, obtained from elsewhere than the bag; with
// "" the key in the bag is used, which proves only that the bag fits together.
// The first difference is the most telling one.
func Verify(path, verifierKey string) (Report, error) {
	src, err := open(path)
	if err != nil {
		return Report{}, err
	}
	defer func() { _ = src.close() }() // it was only read
	return verify(src, verifierKey)
}

func verify(src *source, verifierKey string) (Report, error) {
	if src.files[Declaration] == nil && src.files[TagManifest] == nil && src.files[Proof] == nil {
		return Report{}, ErrNotABag
	}
	v := &verifier{src: src, key: verifierKey, bad: map[string]bool{}, known: map[string]bool{}}
	v.rep.Differences = append(v.rep.Differences, src.differences...)
	v.keyFile()
	v.proof()
	v.tags()
	v.declaration()
	v.payload()
	v.custody()
	v.strangers()
	if v.err != nil {
		return v.rep, v.err
	}
	return v.rep, src.container(&v.rep)
}

type verifier struct {
	src    *source
	key    string
	rep    Report
	bad    map[string]bool // files that were named
	known  map[string]bool // files that belong to the bag
	digest string          // of tagmanifest-sha256.txt, from the proof
	err    error           // the bag could not be read
}

func (v *verifier) differ(file, what string, args ...any) {
	if !v.bad[file] {
		v.bad[file] = true
		v.rep.Differences = append(v.rep.Differences, Difference{File: file, What: fmt.Sprintf(what, args...)})
	}
}

// read returns a whole small file; nil when it is missing, which is named.
func (v *verifier) read(name string, limit int64) []byte {
	v.known[name] = true
	f := v.src.files[name]
	if f == nil {
		v.differ(name, "is missing")
		return nil
	}
	if f.size > limit {
		v.differ(name, "has %d bytes, more than it can have", f.size)
		return nil
	}
	r, err := f.open()
	if err != nil {
		v.differ(name, "cannot be read: %v", err)
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if e := r.Close(); err == nil {
		err = e
	}
	if err != nil {
		v.differ(name, "cannot be read: %v", err)
		return nil
	}
	if b == nil {
		b = []byte{}
	}
	return b
}

// keyFile decides which key checks the proof.
func (v *verifier) keyFile() {
	own := strings.TrimSpace(string(v.read(Key, 4<<10)))
	if v.key == "" {
		v.key, v.rep.OwnKey = own, true
	} else if own != "" && own != strings.TrimSpace(v.key) {
		v.differ(Key, "is not the key this bag was checked with")
	}
	v.key = strings.TrimSpace(v.key)
}

func (v *verifier) proof() {
	p, ok := v.ledgerProof(Proof, LeafBag)
	if ok {
		v.digest, v.rep.Bag, v.rep.LoggedAt = p.Leaf.Digest, p.Leaf.Ref, p.Leaf.At
	}
}

func (v *verifier) ledgerProof(name, kind string) (ledger.Proof, bool) {
	b := v.read(name, 1<<20)
	if b == nil {
		return ledger.Proof{}, false
	}
	p, err := ledger.ParseProof(bytes.TrimSuffix(b, []byte("\n")))
	if err == nil && !bytes.HasSuffix(b, []byte("\n")) {
		err = errors.New("the last line does not end")
	}
	if err == nil {
		err = p.Verify(v.key)
	}
	if err == nil && p.Leaf.Type != kind {
		err = fmt.Errorf("proves a record of the kind %q", p.Leaf.Type)
	}
	if err != nil {
		v.differ(name, "proves nothing: %v", err)
		return ledger.Proof{}, false
	}
	return p, true
}

// tags checks all files beside data/.
func (v *verifier) tags() {
	b := v.read(TagManifest, maxManifest)
	if b == nil {
		return
	}
	if sum := sha256.Sum256(b); v.digest != "" && hex.EncodeToString(sum[:]) != v.digest {
		v.differ(TagManifest, "is not what the ledger holds")
	}
	entries, err := ParseManifest(b, sha256.Size)
	if err != nil {
		v.differ(TagManifest, "cannot be read: %v", err)
		return
	}
	listed := map[string]bool{}
	for _, e := range entries {
		listed[e.Path] = true
		v.known[e.Path] = true
		if strings.HasPrefix(e.Path, Data) || e.Path == Proof || e.Path == TagManifest {
			v.differ(TagManifest, "lists %s, which does not belong there", e.Path)
			continue
		}
		v.compare(e.Path, TagManifest, e.Digest, sha256.New())
	}
	for _, must := range []string{Declaration, Info, Manifest256, Manifest512, Items, Custody, Key} {
		if !listed[must] {
			v.differ(TagManifest, "does not list %s", must)
		}
	}
}

// compare hashes a file and names it when its digest is another.
func (v *verifier) compare(name, manifest, want string, h hash.Hash) {
	f := v.src.files[name]
	if f == nil {
		v.differ(name, "is missing")
		return
	}
	if err := f.hash(h); err != nil {
		v.differ(name, "cannot be read: %v", err)
		return
	}
	if hex.EncodeToString(h.Sum(nil)) != want {
		v.differ(name, "is not what %s says", manifest)
	}
}

// declaration checks what the tag files say of the bag.
func (v *verifier) declaration() {
	if b := v.read(Declaration, 4<<10); b != nil && string(b) != DeclarationText {
		v.differ(Declaration, "does not declare BagIt 1.0")
	}
	info := v.read(Info, 1<<20)
	if info == nil || v.rep.Bag == "" {
		return
	}
	if !bytes.Contains(info, []byte("External-Identifier: "+v.rep.Bag+"\n")) {
		v.differ(Info, "is of another bag than %s, which the ledger names", v.rep.Bag)
	}
}

// payload checks data/ with both manifests. A manifest that was named already
// accuses nobody.
func (v *verifier) payload() {
	short, ok256 := v.manifest(Manifest256, sha256.Size)
	long, ok512 := v.manifest(Manifest512, sha512.Size)
	digests := map[string][2]string{}
	for i, m := range [][]Entry{short, long} {
		for _, e := range m {
			d := digests[e.Path]
			d[i] = e.Digest
			digests[e.Path] = d
		}
	}
	paths := make([]string, 0, len(digests))
	for p := range digests {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range paths {
		v.known[p] = true
		d := digests[p]
		if ok256 && ok512 && (d[0] == "" || d[1] == "") {
			v.differ(p, "stands in one manifest only")
			continue
		}
		v.item(p, d, ok256, ok512)
	}
}

func (v *verifier) item(p string, want [2]string, use256, use512 bool) {
	f := v.src.files[p]
	if f == nil {
		v.differ(p, "is missing")
		return
	}
	v.rep.Files++
	v.rep.Bytes += f.size
	h256, h512 := sha256.New(), sha512.New()
	if err := f.hash(io.MultiWriter(h256, h512)); err != nil {
		v.differ(p, "cannot be read: %v", err)
		return
	}
	if use256 && want[0] != hex.EncodeToString(h256.Sum(nil)) || use512 && want[1] != hex.EncodeToString(h512.Sum(nil)) {
		v.differ(p, "is not what was sealed")
	}
}

// manifest reads a payload manifest; usable tells whether it may accuse.
func (v *verifier) manifest(name string, size int) (entries []Entry, usable bool) {
	b := v.read(name, maxManifest)
	if b == nil {
		return nil, false
	}
	entries, err := ParseManifest(b, size)
	if err != nil {
		v.differ(name, "cannot be read: %v", err)
		return nil, false
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Path, Data) {
			v.differ(name, "lists %s, which is not in data/", e.Path)
			return nil, false
		}
	}
	if name == Manifest256 {
		v.stamp(b)
	}
	return entries, !v.bad[name]
}

// stamp looks whether a time stamp speaks of this manifest. The token itself
// is covered by the tag manifest; whether its authority is trusted is decided
// by who has that authority's certificate.
func (v *verifier) stamp(manifest []byte) {
	if v.src.files[Stamp] == nil {
		return
	}
	token := v.read(Stamp, 1<<20)
	sum := sha256.Sum256(manifest)
	if v.rep.Stamped = bytes.Contains(token, sum[:]); !v.rep.Stamped && !v.bad[Manifest256] {
		v.differ(Stamp, "is not a time stamp of %s", Manifest256)
	}
}

// custody follows the chain of the custody record, in the sealed part and in
// what an export adds.
func (v *verifier) custody() {
	b := v.read(Custody, maxManifest)
	no, prev, ok := v.chain(Custody, b, 0, "")
	if v.src.files[After] == nil && v.src.files[AfterProof] == nil {
		return
	}
	v.rep.Exported = true
	p, proved := v.ledgerProof(AfterProof, LeafAfter)
	after := v.read(After, maxManifest)
	if after == nil {
		return
	}
	sum := sha256.Sum256(after)
	if proved && p.Leaf.Digest != hex.EncodeToString(sum[:]) {
		v.differ(After, "is not what the ledger holds")
		return
	}
	if last, _, chained := v.chain(After, after, no, prev); ok && chained && proved && p.Leaf.Ref != fmt.Sprintf("%s/%d", v.rep.Bag, last) {
		v.differ(AfterProof, "proves the custody record of %s", p.Leaf.Ref)
	}
}

// chain checks that each line names the digest of the line before.
func (v *verifier) chain(name string, b []byte, no int, prev string) (int, string, bool) {
	if b == nil || v.bad[name] {
		return no, prev, false
	}
	for len(b) > 0 {
		line, rest, ended := bytes.Cut(b, []byte("\n"))
		b = rest
		var c struct {
			No   int    `json:"no"`
			Prev string `json:"prev"`
		}
		if err := json.Unmarshal(line, &c); err != nil || !ended || c.No != no+1 || c.Prev != prev {
			v.differ(name, "line %d does not follow the line before", no+1)
			return no, prev, false
		}
		sum := sha256.Sum256(line)
		no, prev = c.No, hex.EncodeToString(sum[:])
	}
	return no, prev, true
}

// strangers names files that nothing accounts for. With a manifest that cannot
// be used nobody can tell.
func (v *verifier) strangers() {
	payload := !v.bad[Manifest256] || !v.bad[Manifest512]
	for _, name := range v.src.names() {
		if v.known[name] || strings.HasPrefix(name, Data) && !payload {
			continue
		}
		v.differ(name, "does not belong to the bag")
	}
}
