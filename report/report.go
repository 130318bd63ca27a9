// Package report makes the documents that leave the house, all from one
// record: reports to authorities, notices to persons and to the public, what
// is read inside, indicators for others.
//
// In: incident, chronology, alerts, actions, evidence, assessment, who reports,
// particulars that only documents need.
// Out: Data (all of a document as plain values), Document (a frozen version of
// it), its pages, and files in other formats made of them. Always true: a made
// document never changes, it is replaced by the next version of its kind; until
// a second person has approved it every page says that it is a draft; what
// nobody has stated is marked as missing, and what Sonae filled in by itself is
// marked so; the digest of the data, of each page and of each file, who
// approved and who looked stand in the ledger.
package report

import (
	"time"

	"github.com/sonae/sonae/i18n"
)

// Text is a text in the languages of the product. What a person wrote is the
// same in both.
type Text struct {
	JA string `json:"ja"`
	EN string `json:"en"`
}

// In returns the text in lang; every unknown language is Japanese.
func (t Text) In(lang string) string {
	if lang == i18n.English {
		return t.EN
	}
	return t.JA
}

// Empty says whether there is no text.
func (t Text) Empty() bool { return t.JA == "" && t.EN == "" }

// Plain is a text without translation: names, numbers, what a person wrote.
func Plain(s string) Text { return Text{JA: s, EN: s} }

// Word is the sentence of a catalogue key in all languages.
func Word(key string, args map[string]string) Text {
	return Text{JA: i18n.T(i18n.Japanese, key, args), EN: i18n.T(i18n.English, key, args)}
}

// Document is one frozen version of a report.
type Document struct {
	ID       string    `json:"id"`
	Incident string    `json:"incident"`
	No       int       `json:"no"`             // from 1 per incident
	Kind     string    `json:"kind"`           // see Kinds
	Part     string    `json:"part,omitempty"` // id of the group of persons, where the kind has groups
	Version  int       `json:"version"`        // from 1 per incident, kind and part
	Digest   string    `json:"digest"`         // hex SHA-256 of the JSON of Data
	At       time.Time `json:"at"`
	By       string    `json:"by"` // person id

	ApprovedAt time.Time `json:"approved_at,omitzero"` // zero: a draft
	ApprovedBy string    `json:"approved_by,omitempty"`
}

// Approved says whether a second person stands behind it.
func (d Document) Approved() bool { return !d.ApprovedAt.IsZero() }

// Data is everything a document needs, as plain values: no other state is
// looked at when it is printed.
type Data struct {
	Schema   string    `json:"schema"`   // "sonae.report.data/1"
	Document string    `json:"document"` // id of the document; empty in a draft
	No       int       `json:"no"`       // of the document in its incident; 0 in a draft
	Kind     string    `json:"kind"`     // see Kinds
	Version  int       `json:"version"`  // of this kind and group; 0 in a draft
	TLP      string    `json:"tlp"`      // TLP 2.0 label
	MadeAt   time.Time `json:"made_at"`
	MadeBy   string    `json:"made_by"` // name of the person
	MadeByID string    `json:"made_by_id"`
	Drill    bool      `json:"drill"` // 訓練

	Incident  Incident  `json:"incident"`
	Reporter  []Field   `json:"reporter"`
	Items     []Item    `json:"items"`
	Missing   []Text    `json:"missing"` // labels of what is still empty
	Triggers  []Trigger `json:"triggers"`
	Clocks    []Clock   `json:"clocks"`
	Notes     []Text    `json:"notes"`
	Alerts    []Alert   `json:"alerts"`
	Actions   []Action  `json:"actions"`
	Bags      []Bag     `json:"bags"`
	Entries   []Line    `json:"entries"`
	Omitted   int       `json:"omitted"` // entries left out in the middle
	RulesName string    `json:"rules"`   // which rules of law were used
	Salt      string    `json:"salt"`    // makes the digests unguessable

	Particulars []Field     `json:"particulars"`
	Group       *Group      `json:"group,omitempty"` // the persons it is for, where the kind has groups
	Indicators  []Indicator `json:"indicators"`
	Techniques  []string    `json:"techniques"` // of ATT&CK, e.g. T1486
	// Callers and Callees are on the sheet for calls only.
	Callers []Caller `json:"callers,omitempty"`
	Callees []Callee `json:"callees,omitempty"`
	// Approval is set when the approved page is made; the record itself, which
	// is older, has none.
	Approval *Approval `json:"approval,omitempty"`
}

// Incident is the case in the head of a document.
type Incident struct {
	ID        string    `json:"id"`
	No        int       `json:"no"`
	Title     string    `json:"title"`
	State     Text      `json:"state"`
	Severity  Text      `json:"severity"`
	Commander string    `json:"commander"`
	Sites     []string  `json:"sites"`
	Hosts     []string  `json:"hosts"`
	Scope     string    `json:"scope"`
	OpenedAt  time.Time `json:"opened_at"`
	KnownAt   time.Time `json:"known_at"`
}

// Field is one box of a form.
type Field struct {
	ID        string `json:"id"`
	Label     Text   `json:"label"`
	Value     Text   `json:"value"`
	Missing   bool   `json:"missing"`   // nobody has stated it: 「未記入」
	Suggested bool   `json:"suggested"` // filled in by Sonae: 「自動記入・要確認」
}

// Item is one of the nine items of 施行規則第8条第1項.
type Item struct {
	No     int     `json:"no"`
	ID     string  `json:"id"`
	Label  Text    `json:"label"`
	Fields []Field `json:"fields"`
}

// Trigger is a category of the law that applies or may apply.
type Trigger struct {
	Regime  Text `json:"regime"`
	Label   Text `json:"label"`
	Applies Text `json:"applies"`
	Because Text `json:"because"`
}

// Clock is a deadline.
type Clock struct {
	Label   Text      `json:"label"`
	Regime  Text      `json:"regime"`
	From    time.Time `json:"from"`
	Target  time.Time `json:"target"`
	Raw     time.Time `json:"raw"`
	Due     time.Time `json:"due"`
	Days    int       `json:"days"`
	Slid    bool      `json:"slid"`
	Guide   bool      `json:"guide"`
	Sure    bool      `json:"sure"` // false: shown as a precaution
	DoneAt  time.Time `json:"done_at"`
	Basis   string    `json:"basis"`
	Because Text      `json:"because"`
}

// Peer is somebody a host talked to, with bytes each way.
type Peer struct {
	Address  string    `json:"address"`
	Protocol string    `json:"protocol"`
	Sent     int64     `json:"sent"`
	Received int64     `json:"received"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
}

// Alert is what was observed.
type Alert struct {
	ID       string    `json:"id"`
	Title    Text      `json:"title"`
	What     Text      `json:"what"`
	Affects  Text      `json:"affects"`
	Severity Text      `json:"severity"`
	Host     string    `json:"host"`
	Site     string    `json:"site"`
	Count    int       `json:"count"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Sent     int64     `json:"sent"`
	Received int64     `json:"received"`
	Process  []string  `json:"process"` // image and user, one line each
	Peers    []Peer    `json:"peers"`   // those with the most bytes sent
	MorePeer int       `json:"more_peers"`
}

// Action is a measure and how it stands.
type Action struct {
	Kind      Text      `json:"kind"`
	Host      string    `json:"host"`
	State     Text      `json:"state"`
	Reason    string    `json:"reason"`
	Requested string    `json:"requested_by"`
	Decided   string    `json:"decided_by"`
	At        time.Time `json:"at"`       // applied, or requested when it never was
	Verified  time.Time `json:"verified"` // both ways
	Expires   time.Time `json:"expires"`
	Ended     time.Time `json:"ended"`
	Checks    []string  `json:"checks"` // "name target ok|failed"
}

// Bag is a package of evidence.
type Bag struct {
	ID       string    `json:"id"`
	Host     string    `json:"host"`
	State    Text      `json:"state"`
	SealedAt time.Time `json:"sealed_at"`
	Items    int       `json:"items"`
	Bytes    int64     `json:"bytes"`
	Digest   string    `json:"digest"`
	Stamped  bool      `json:"stamped"`
}

// Line is one entry of the chronology.
type Line struct {
	No          int       `json:"no"`
	OccurredAt  time.Time `json:"occurred_at"`
	EnteredAt   time.Time `json:"entered_at"`
	Source      Text      `json:"source"`
	Certainty   Text      `json:"certainty"`
	By          string    `json:"by"`
	Text        Text      `json:"text"`
	Corrects    int       `json:"corrects"`
	CorrectedBy int       `json:"corrected_by"` // strike through
}
