package engine

import (
	"encoding/json"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// message is one line of restic with --json. Versions differ in which fields
// they write; those that are unknown are left out.
// https://restic.readthedocs.io/en/stable/075_scripting.html
type message struct {
	Type string `json:"message_type"` // status | verbose_status | error | summary | exit_error

	// status
	TotalFiles    int64    `json:"total_files"`
	FilesDone     int64    `json:"files_done"`
	FilesRestored int64    `json:"files_restored"`
	FilesSkipped  int64    `json:"files_skipped"`
	TotalBytes    int64    `json:"total_bytes"`
	BytesDone     int64    `json:"bytes_done"`
	BytesRestored int64    `json:"bytes_restored"`
	BytesSkipped  int64    `json:"bytes_skipped"`
	Errors        int64    `json:"error_count"`
	Current       []string `json:"current_files"`

	// error
	Error  json.RawMessage `json:"error"`
	During string          `json:"during"`
	Item   string          `json:"item"`

	// exit_error, since 0.17
	Code    int    `json:"code"`
	Message string `json:"message"`

	// summary of a backup
	FilesNew      int64   `json:"files_new"`
	FilesChanged  int64   `json:"files_changed"`
	FilesSame     int64   `json:"files_unmodified"`
	DataAdded     int64   `json:"data_added"`
	DataStored    int64   `json:"data_added_packed"` // since 0.17
	FilesLooked   int64   `json:"total_files_processed"`
	BytesLooked   int64   `json:"total_bytes_processed"`
	TotalDuration float64 `json:"total_duration"` // seconds
	Snapshot      string  `json:"snapshot_id"`
}

// parse reads a line; false for what is no message.
func parse(line []byte) (m message, ok bool) {
	if len(line) == 0 || line[0] != '{' {
		return m, false
	}
	if err := json.Unmarshal(line, &m); err != nil || m.Type == "" {
		return message{}, false
	}
	return m, true
}

// cause is what an error says: {"message": …} since 0.16, before that a Go value
// with Op, Path and the number of the system's error.
func (m message) cause() string {
	var e struct {
		Message string
		Op      string
		Err     json.RawMessage
	}
	if json.Unmarshal(m.Error, &e) == nil {
		switch {
		case e.Message != "":
			return e.Message
		case e.Op != "":
			return strings.TrimSpace(e.Op + " " + errno(e.Err))
		}
	}
	return strings.Trim(string(m.Error), `"{}`)
}

// text is an error in one bounded line.
func (m message) text(most int) string {
	s := m.cause()
	if m.Item != "" && !strings.Contains(s, m.Item) {
		s = m.Item + ": " + s
	}
	s = strings.ToValidUTF8(strings.Map(oneLine, s), "?")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}

// errno is what the system says of a number.
func errno(raw json.RawMessage) string {
	n, err := strconv.ParseUint(string(raw), 10, 16)
	if err != nil {
		return ""
	}
	return syscall.Errno(n).Error()
}

func oneLine(r rune) rune {
	if r < ' ' || r == 0x7f {
		return ' '
	}
	return r
}

// Status is how far a call is.
type Status struct {
	Files, TotalFiles int64
	Bytes, TotalBytes int64 // totals grow while folders are still being read
	Errors            int64
}

func (m message) status() Status {
	return Status{Files: m.FilesDone + m.FilesRestored + m.FilesSkipped, TotalFiles: m.TotalFiles,
		Bytes: m.BytesDone + m.BytesRestored + m.BytesSkipped, TotalBytes: m.TotalBytes, Errors: m.Errors}
}

// Tell is called with what is known about a running call, about once a second,
// by one goroutine at a time. It must not wait. nil: nobody wants to know.
type Tell func(Status)

// perSecond is how often restic tells its progress.
const perSecond = "1"

// patience is how long restic may take to end by itself when it is told to,
// which removes its lock.
const patience = 20 * time.Second
