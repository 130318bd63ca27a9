// Package notify tells people, one after the other, until somebody answers.
//
// In: causes (an alert, what a standing policy did, a legal clock, a late step of
// a playbook, a late task, a promised call or an improvement that is due, a call that somebody starts by hand) and who answered them; people's contacts, who is on
// call, chains and channels as people set them. Out: messages over channels,
// lines for the chronology, the record of who was told and reached when. Always
// true: one cause starts one call; a call goes on until a person answers or its
// chain is over, which everybody can see; what is to be sent lies in the state
// before it is sent, is sent at least once under one id, and is tried again
// until it worked or a day has passed; no message holds a secret, and to answer
// one must log in.
package notify

import (
	"context"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
)

// Kinds of causes.
const (
	OfAlert    = "alert"    // an alert was raised
	OfPolicy   = "policy"   // a standing policy acted by itself
	OfDuty     = "duty"     // a legal clock is nearly over, or over
	OfStep     = "step"     // the time of a playbook's step is over
	OfTask     = "task"     // the time of a task is over
	OfDecision = "decision" // a decision about a service must be reviewed
	OfCallBack = "callback" // a promised call is nearly late, or late
	OfMeasure  = "measure"  // an improvement is due, or must be checked
	ByHand     = "hand"     // somebody started it
)

// Cause is why people are to be told.
type Cause struct {
	Kind     string         `json:"kind"`
	Ref      string         `json:"ref"`      // which alert, action, clock …; the same Kind and Ref start one call only
	Path     string         `json:"path"`     // page on which it is answered
	Incident string         `json:"incident"` // "" while there is none
	Site     string         `json:"site"`
	Host     string         `json:"host"`
	Rule     string         `json:"rule"` // id
	Title    detect.Text    `json:"title"`
	Severity event.Severity `json:"severity"`
	Drill    bool           `json:"drill"`
	Tell     string         `json:"tell,omitempty"`   // who is to be told, as a standing policy says
	Chain    string         `json:"chain,omitempty"`  // id of the chain, where somebody chose it
	People   []string       `json:"people,omitempty"` // ids of those whom it concerns: told at the first step, too
	At       time.Time      `json:"at"`               // when it happened
}

// State is how far a call is.
type State string

// States of a call: 呼び出し中, 応答あり, 応答なし.
const (
	Calling  State = "calling"
	Answered State = "answered"
	Over     State = "over" // the chain is over and nobody answered
)

// Call is one run through a chain.
type Call struct {
	ID         string    `json:"id"`
	Cause      Cause     `json:"cause"`
	Chain      Chain     `json:"chain"` // as it was when the call began
	State      State     `json:"state"`
	Step       int       `json:"step"`  // index of the next step
	Round      int       `json:"round"` // how often the chain was gone through
	DueAt      time.Time `json:"due_at"`
	BeganAt    time.Time `json:"began_at"`
	AnsweredBy string    `json:"answered_by"` // person id
	AnsweredAt time.Time `json:"answered_at"`
	Lines      int       `json:"lines"`
}

// Live says whether the call still looks for somebody: one whose chain is over
// can be answered too.
func (c Call) Live() bool { return c.State != Answered }

// Line is one thing that happened in a call. With an incident it stands in the
// chronology, as catalogue key "entry.<Key>".
type Line struct {
	Call     string            `json:"call"`
	No       int               `json:"no"` // from 1
	Incident string            `json:"incident"`
	Site     string            `json:"site"`
	Key      string            `json:"key"`
	Args     map[string]string `json:"args"`
	At       time.Time         `json:"at"`
}

// Message is what a channel carries.
type Message struct {
	ID       string         `json:"id"` // the same when it is sent again
	At       time.Time      `json:"at"`
	Kind     string         `json:"kind"` // alert | policy | duty | step | decision | task | callback | measure | hand | test; the first cause's
	Lang     string         `json:"lang"`
	Severity event.Severity `json:"severity"` // the highest
	Drill    bool           `json:"drill"`
	Count    int            `json:"count"` // causes that it is about
	Subject  string         `json:"subject"`
	Text     string         `json:"text"`
	Link     string         `json:"link"`
	Items    []Item         `json:"items"` // the first of Count
}

// Item is one cause in a message.
type Item struct {
	Call     string         `json:"call"`
	Title    string         `json:"title"`
	Severity event.Severity `json:"severity"`
	Site     string         `json:"site"`
	Host     string         `json:"host"`
	At       time.Time      `json:"at"`
	Link     string         `json:"link"`
}

// Sender carries messages of some kinds of channels. to is an address as the
// kind of channel has it: of mail, of a chat, a telephone number.
type Sender interface {
	Send(ctx context.Context, c Channel, s Secrets, to string, m Message) error
}

// checker is a Sender that knows more of what a channel lacks than the channel
// itself, as Invalid.
type checker interface {
	Check(ctx context.Context, c Channel) error
}

// People is what a Desk needs of package auth.
type People interface {
	People(ctx context.Context) ([]auth.Person, error)
}

// Sealer seals small secrets, see package secret.
type Sealer interface {
	Seal(plain, context []byte) ([]byte, error)
	Unseal(sealed, context []byte) ([]byte, error)
}
