package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sonae/sonae/protect/job"
)

// Cause is why restic did not do what it was told.
type Cause string

// Causes. Versions before 0.17 end with 1 for all of them; their text is read.
const (
	NoRepository  Cause = "no-repository"
	WrongPassword Cause = "wrong-password"
	Locked        Cause = "locked"
	Unread        Cause = "unread"  // a snapshot was made, but something could not be read
	Stopped       Cause = "stopped" // by the caller
	Crashed       Cause = "crashed" // by a bug of its own, or killed by the system
	Unable        Cause = "unable"  // it could not be started, or this version cannot do that
	Broken        Cause = "broken"  // what was to be streamed broke off
	Full          Cause = "full"    // the repository takes no more
	Other         Cause = "other"
)

// Failure says how a call ended that was not all right.
type Failure struct {
	Command string // backup, restore …
	Cause   Cause
	Code    int    // exit status; -1: none
	Said    string // its last words, at most 4 KiB
	Err     error  // of starting or of streaming, may be nil
}

func (f *Failure) Error() string {
	s := fmt.Sprintf("restic %s: %s (%d)", f.Command, f.Cause, f.Code)
	if f.Err != nil {
		s += ": " + f.Err.Error()
	}
	if f.Said != "" {
		s += ": " + f.Said
	}
	return s
}

// Unwrap returns the cause of the system or of the stream.
func (f *Failure) Unwrap() error { return f.Err }

// CauseOf is the cause of an error of this package; "" where it has none.
func CauseOf(err error) Cause {
	var f *Failure
	if errors.As(err, &f) {
		return f.Cause
	}
	return ""
}

// State is how a call that returned err ended.
func State(err error) job.State {
	if err == nil {
		return job.OK
	}
	switch CauseOf(err) {
	case Unread:
		return job.Partial
	case Stopped:
		return job.Cancelled
	case Unable, NoRepository, WrongPassword:
		return job.CouldNotRun
	}
	return job.Failed
}

// Exit statuses of restic.
const (
	exitPanic         = 2
	exitUnread        = 3
	exitNoRepository  = 10
	exitLocked        = 11
	exitWrongPassword = 12
)

// saying are the texts by which versions before 0.17 are understood, and what
// the repository answers.
var saying = []struct {
	text  string
	cause Cause
}{
	{"wrong password or no key found", WrongPassword},
	{"Is there a repository at the following location?", NoRepository},
	{"repository is already locked", Locked},
	{"unable to create lock in backend", Locked},
	{"507 Insufficient Storage", Full},
	{"no space left on device", Full},
}

// judge finds the cause of an exit status.
func judge(command string, code int, said string) Cause {
	switch {
	case code == exitUnread && command == "backup":
		return Unread
	case code == exitNoRepository:
		return NoRepository
	case code == exitLocked:
		return Locked
	case code == exitWrongPassword:
		return WrongPassword
	case code == exitPanic || code < 0:
		return Crashed
	}
	for _, s := range saying {
		if strings.Contains(said, s.text) {
			return s.cause
		}
	}
	return Other
}
