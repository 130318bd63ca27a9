// Package duty is the law as data: which duties an incident triggers, until
// when, and what each report must say.
//
// In: Facts that people state about an incident, rules and holidays (embedded
// YAML with effective dates and sources). Out: Assessment with clocks. Always
// true: no deadline is computed in code from a number that is not in the data;
// every clock names the fact and the article it comes from; dates are those of
// Asia/Tokyo.
package duty

import "time"

// Answer to a question of fact: people often do not know yet.
type Answer string

// Answers.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown"
)

// Facts are what is known about an incident for the purpose of reporting.
type Facts struct {
	KnownAt      time.Time `json:"known_at"`      // when any department first knew
	LegalClass   string    `json:"legal_class"`   // private_business, public_hospital_art58_2, administrative_organ, …
	Personal     Answer    `json:"personal"`      // personal data leaked, lost or damaged, or may have been
	Sensitive    Answer    `json:"sensitive"`     // 要配慮個人情報
	Property     Answer    `json:"property"`      // could cause 財産的被害
	BadIntent    Answer    `json:"bad_intent"`    // 不正の目的
	Public       Answer    `json:"public"`        // open to unspecified many by electronic means
	MyNumber     Answer    `json:"my_number"`     // 特定個人情報
	PublicSystem Answer    `json:"public_system"` // a 個人番号利用事務 or public-body system
	Encrypted    Answer    `json:"encrypted"`     // 高度な暗号化
	Confirmed    int       `json:"confirmed"`     // persons, confirmed
	Maximum      int       `json:"maximum"`       // persons, at most; 0 unknown
	Contractor   string    `json:"contractor"`    // site id of the contractor where it arose, empty: own
	NotifiedAt   time.Time `json:"notified_at"`   // when the contractor told the principal
	// ContractorKnownAt is when any department of the contractor first knew;
	// zero: the same as KnownAt. It starts the contractor's own clock.
	ContractorKnownAt time.Time `json:"contractor_known_at"`
	// PromptFiledAt and FinalFiledAt are when 速報 and 確報 were submitted; zero:
	// not yet. Left out while zero, so that statements made before these fields
	// existed keep their digest.
	PromptFiledAt time.Time `json:"prompt_filed_at,omitzero"`
	FinalFiledAt  time.Time `json:"final_filed_at,omitzero"`
	Items         Items     `json:"items"`

	// What follows is left out while nobody said anything, for the same reason;
	// an absent answer is Unknown.

	// Knowledge is who knew what, when. KnownAt and ContractorKnownAt are never
	// later than the earliest of their side.
	Knowledge []Knowledge `json:"knowledge,omitempty"`
	// Misuse is whether My Numbers were used or provided against the law (番号利用法
	// 第9条・第19条): its Art. 29-4 is about that too, without any leak.
	Misuse         Answer `json:"misuse,omitempty"`
	LocalSensitive Answer `json:"local_sensitive,omitempty"` // 条例要配慮個人情報, of local public bodies

	Ransomware    Answer   `json:"ransomware,omitempty"`
	IdenticalCopy Answer   `json:"identical_copy,omitempty"` // a copy with the same content is left
	P2P           Answer   `json:"p2p,omitempty"`            // a file-sharing program is part of it
	Shared        Answer   `json:"shared,omitempty"`         // a file with personal data was shared with it
	ForGain       Answer   `json:"for_gain,omitempty"`       // by somebody who wanted an advantage from it
	DDoS          Answer   `json:"ddos,omitempty"`
	Indicators    []string `json:"indicators,omitempty"`   // signs of a leak that were seen, ids of Rules.Indicators
	NoIndicator   Answer   `json:"no_indicator,omitempty"` // Yes: somebody looked for all of them and saw none
	Exemption     Proof    `json:"exemption,omitzero"`     // why Encrypted is Yes
	Common        Common   `json:"common_form,omitzero"`   // fields of the common forms
}

// Sides of Knowledge.
const (
	OwnSide        = "own"
	ContractorSide = "contractor"
)

// Knowledge is when a department or person got to know of the incident.
type Knowledge struct {
	Side string    `json:"side"` // own | contractor
	Who  string    `json:"who"`  // department or person, as people call it
	What string    `json:"what,omitempty"`
	At   time.Time `json:"at"`
}

// Proof is what shows that nobody else can read the data (高度な暗号化等の秘匿化).
// Without all that the rules require, and a second person's signature, there
// is no exemption.
type Proof struct {
	Algorithm   string `json:"algorithm,omitempty"`    // method and length of the key
	Listed      Answer `json:"listed,omitempty"`       // on the list of a competent body
	Unreadable  Answer `json:"unreadable,omitempty"`   // nobody else could read it when it got out
	KeyApart    Answer `json:"key_apart,omitempty"`    // the key was kept apart from the data
	KeySafe     Answer `json:"key_safe,omitempty"`     // and did not get out itself
	Wiped       Answer `json:"wiped,omitempty"`        // erased from afar, confirmed
	KeyUnusable Answer `json:"key_unusable,omitempty"` // nobody else can use the key
	ByAttacker  Answer `json:"by_attacker,omitempty"`  // the attacker encrypted it: never exempt
	Evidence    string `json:"evidence,omitempty"`     // where all this can be seen
}

// Common are the technical fields of the common forms for ransomware and DDoS
// (ランサムウェア事案共通様式, DDoS攻撃事案共通様式).
type Common struct {
	Note       string `json:"ransom_note,omitempty"`
	Extension  string `json:"extension,omitempty"` // of encrypted files
	Family     string `json:"family,omitempty"`
	Entry      string `json:"entry_method,omitempty"`
	Indicators string `json:"indicators,omitempty"` // addresses, hashes, one a line
	Gbps       string `json:"gbps,omitempty"`
	PPS        string `json:"pps,omitempty"`
	Duration   string `json:"duration,omitempty"`
	AttackType string `json:"attack_type,omitempty"`
	NCO        Answer `json:"nco_sharing,omitempty"` // consent to pass it on to 国家サイバー統括室
}

// Items are the nine report items (施行規則第8条第1項), as far as people wrote
// them. Empty means missing.
type Items struct {
	Occurred    string `json:"occurred"`    // 1 概要: 発生日
	Found       string `json:"found"`       // 1 発覚日
	Event       string `json:"event"`       // 1 発生事案
	Finder      string `json:"finder"`      // 1 発見者
	Medium      string `json:"medium"`      // 2 媒体
	DataKind    string `json:"data_kind"`   // 2 種類
	DataItems   string `json:"data_items"`  // 2 項目
	Cause       string `json:"cause"`       // 4 原因
	CauseParty  string `json:"cause_party"` // 4 発生箇所
	Secondary   string `json:"secondary"`   // 5 二次被害
	PersonCare  string `json:"person_care"` // 6 本人への対応
	Publication string `json:"publication"` // 7 公表
	Done        string `json:"done"`        // 8 再発防止(済)
	Planned     string `json:"planned"`     // 8 再発防止(予定)
	Other       string `json:"other"`       // 9 その他
}

// Trigger is a category of the law that applies, may apply, or does not.
type Trigger struct {
	Regime  string `json:"regime"` // appi_26, mynumber_29_4, …
	ID      string `json:"id"`     // appi_1 …
	Applies Answer `json:"applies"`
	Because string `json:"because"` // i18n key of the reason
}

// Clock is one deadline.
type Clock struct {
	ID      string    `json:"id"`     // e.g. appi_26.prompt, appi_26.final, contractor.notice
	Regime  string    `json:"regime"` //
	Kind    string    `json:"kind"`   // prompt | final | final_alternative | contractor | person_notice
	From    time.Time `json:"from"`   // day 1
	Target  time.Time `json:"target"` // internal target (end of that day); zero: none
	Raw     time.Time `json:"raw"`    // the counted day before any slide
	Due     time.Time `json:"due"`    // last moment, end of the day in Tokyo
	Days    int       `json:"days"`
	Slid    bool      `json:"slid"`    // moved because the raw day is closed
	Applies Answer    `json:"applies"` // Unknown: shown as a precaution
	Basis   string    `json:"basis"`   // article and source
	Fact    string    `json:"fact"`    // which fact it follows from (i18n key)
	Guide   bool      `json:"guide"`   // a guide value, not a statutory day
	DoneAt  time.Time `json:"done_at"` // when it was met, as far as the facts say; zero: open
}

// Assessment is what the law asks for, given the facts.
type Assessment struct {
	Facts    Facts     `json:"facts"`
	Triggers []Trigger `json:"triggers"`
	Clocks   []Clock   `json:"clocks"`
	Missing  []string  `json:"missing"` // report items still empty, as item ids (occurred, cause …)
	MadeAt   time.Time `json:"made_at"`
	Rules    string    `json:"rules"` // schema and compile date of the rules used
	Notes    []string  `json:"notes"` // what else to know, as catalogue keys

	Ask         []string   `json:"ask"`          // facts that are still unknown and decide something, the most important first
	Derived     []Derived  `json:"derived"`      // answers that follow from the decision tables
	Reviews     []string   `json:"reviews"`      // rows of the tables that wait for a person's decision
	MissingForm []string   `json:"missing_form"` // fields of the common forms that are still empty
	Exempt      Exempt     `json:"exempt"`       // what the exemption for strong encryption lacks
	Counted     *Knowledge `json:"counted"`      // whose knowledge day 1 is counted from; nil: nobody named
}

// Derived is an answer that nobody gave and that follows from a decision table.
type Derived struct {
	Fact   string `json:"fact"`
	Answer Answer `json:"answer"`
	Row    string `json:"row"`    // id of the row, catalogue key "duty.row.<id>"
	Basis  string `json:"basis"`  // where the table comes from
	Stated Answer `json:"stated"` // what people said: it is not overruled, but contradicts
}

// Exempt says whether the exemption for strong encryption holds.
type Exempt struct {
	Claimed bool     `json:"claimed"`
	Holds   bool     `json:"holds"`
	Lacks   []string `json:"lacks"`  // parts of the proof, or "signature"
	By      string   `json:"by"`     // who signed
	Digest  string   `json:"digest"` // of the claim as it is now, for the signature
}
