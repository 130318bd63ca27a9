package segment

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sonae/sonae/event"
)

// HotField is a field of an event that has a column of its own.
type HotField struct {
	Field  string             // name in event.Event.Fields
	Column string             // name in the segment, as ECS has it
	Text   func(*Row) *string // nil for a number
	small  func(*Row) *int32  // a number of 32 bits
	large  func(*Row) *int64
}

// hot holds all hot fields, by field name.
var hot = func() []HotField {
	all := []HotField{
		{Field: "EventID", Column: "event_code", Text: func(r *Row) *string { return &r.Code }},
		{Field: event.FieldUser, Column: "user_name", Text: func(r *Row) *string { return &r.User }},
		{Field: event.FieldImage, Column: "process_executable", Text: func(r *Row) *string { return &r.Process }},
		{Field: "ParentImage", Column: "process_parent_executable", Text: func(r *Row) *string { return &r.Parent }},
		{Field: event.FieldCommand, Column: "process_command_line", Text: func(r *Row) *string { return &r.Command }},
		{Field: "TargetFilename", Column: "file_path", Text: func(r *Row) *string { return &r.File }},
		{Field: event.FieldSrcIP, Column: "source_ip", Text: func(r *Row) *string { return &r.SrcIP }},
		{Field: event.FieldDstIP, Column: "destination_ip", Text: func(r *Row) *string { return &r.DstIP }},
		{Field: event.FieldProtocol, Column: "network_transport", Text: func(r *Row) *string { return &r.Transport }},
		{Field: event.FieldApp, Column: "network_application", Text: func(r *Row) *string { return &r.Application }},
		{Field: "Hashes", Column: "file_hash", Text: func(r *Row) *string { return &r.Hash }},
		{Field: event.FieldSrcPort, Column: "source_port", small: func(r *Row) *int32 { return &r.SrcPort }},
		{Field: event.FieldDstPort, Column: "destination_port", small: func(r *Row) *int32 { return &r.DstPort }},
		{Field: event.FieldSent, Column: "bytes_out", large: func(r *Row) *int64 { return &r.BytesOut }},
		{Field: event.FieldReceived, Column: "bytes_in", large: func(r *Row) *int64 { return &r.BytesIn }},
	}
	slices.SortFunc(all, func(x, y HotField) int { return strings.Compare(x.Field, y.Field) })
	return all
}()

// hotByLength finds a hot field faster than a map does.
var hotByLength = func() (by [16][]*HotField) {
	for i := range hot {
		n := len(hot[i].Field)
		by[n] = append(by[n], &hot[i])
	}
	return by
}()

// hotOf returns the hot field of that name, or nil.
func hotOf(field string) *HotField {
	if len(field) >= len(hotByLength) {
		return nil
	}
	for _, h := range hotByLength[len(field)] {
		if h.Field == field {
			return h
		}
	}
	return nil
}

// Hot returns the fields that have a column of their own, by field name.
func Hot() []HotField { return slices.Clone(hot) }

// number returns the value of a numeric field.
func (h *HotField) number(r *Row) int64 {
	if h.small != nil {
		return int64(*h.small(r))
	}
	return *h.large(r)
}

// store puts a value into its column and says whether it could: text that is
// not empty; a number only in the spelling that is read back, and never zero,
// which means absent.
func (h *HotField) store(r *Row, value string) bool {
	if h.Text != nil {
		if value != "" {
			*h.Text(r) = clean(value)
		}
		return value != ""
	}
	n, ok := parseNumber(value)
	if !ok || n == 0 {
		return false
	}
	if h.large != nil {
		*h.large(r) = n
		return true
	}
	if int64(int32(n)) != n {
		return false
	}
	*h.small(r) = int32(n)
	return true
}

// parseNumber reads a decimal number in its usual spelling.
func parseNumber(s string) (int64, bool) {
	if s == "" || s[0] == '+' || s[0] == '0' && len(s) > 1 || strings.HasPrefix(s, "-0") || s[0] > '9' {
		return 0, false // before ParseInt, whose error would be made for every such event
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
