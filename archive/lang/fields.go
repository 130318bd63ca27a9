package lang

import (
	"slices"
	"strings"
)

// Field is a name that queries may use.
type Field struct {
	Name    string   // how Sonae writes it; also its column, where it has one
	Kind    Kind     //
	ECS     string   // Elastic Common Schema
	Sigma   string   // name in Sigma rules and in event.Event.Fields, where it has one
	Aliases []string // short words
	Words   string   // key of its description in the catalogue

	known   bool     // in the table; any other name is looked up in the map of fields
	either  []string // not a column of its own, but either of these
	derived string   // not a column of its own, but this expression
	free    bool     // free text looks into it
	exact   bool     // upper and lower case differ even with a colon: it is an id
}

// table is every name that is more than an entry in the map of fields. The
// columns are those of archive/segment; a test of package archive compares.
var table = []Field{
	{Name: "time", Kind: KindTime, ECS: "@timestamp"},
	{Name: "ingested", Kind: KindTime, ECS: "event.ingested"},
	{Name: "site", Kind: KindText, ECS: "organization.id", exact: true},
	{Name: "host", Kind: KindText, ECS: "host.id", exact: true},
	{Name: "kind", Kind: KindText, ECS: "event.kind", exact: true},
	{Name: "product", Kind: KindText, ECS: "event.module"},
	{Name: "category", Kind: KindText, ECS: "event.category"},
	{Name: "service", Kind: KindText, ECS: "service.name"},
	{Name: "event_code", Kind: KindText, ECS: "event.code", Sigma: "EventID", Aliases: []string{"code"}, free: true},
	{Name: "user_name", Kind: KindText, ECS: "user.name", Sigma: "User", free: true},
	{Name: "process_executable", Kind: KindText, ECS: "process.executable", Sigma: "Image", Aliases: []string{"process"}, free: true},
	{Name: "process_parent_executable", Kind: KindText, ECS: "process.parent.executable", Sigma: "ParentImage", Aliases: []string{"parent"}, free: true},
	{Name: "process_command_line", Kind: KindText, ECS: "process.command_line", Sigma: "CommandLine", Aliases: []string{"command"}, free: true},
	{Name: "file_path", Kind: KindText, ECS: "file.path", Sigma: "TargetFilename", Aliases: []string{"file"}, free: true},
	{Name: "source_ip", Kind: KindAddress, ECS: "source.ip", Sigma: "SourceIp", Aliases: []string{"src"}, free: true},
	{Name: "source_port", Kind: KindNumber, ECS: "source.port", Sigma: "SourcePort"},
	{Name: "destination_ip", Kind: KindAddress, ECS: "destination.ip", Sigma: "DestinationIp", Aliases: []string{"dst"}, free: true},
	{Name: "destination_port", Kind: KindNumber, ECS: "destination.port", Sigma: "DestinationPort"},
	{Name: "network_transport", Kind: KindText, ECS: "network.transport", Sigma: "Protocol", free: true},
	{Name: "network_application", Kind: KindText, ECS: "network.application", Sigma: "Application", free: true},
	{Name: "bytes_out", Kind: KindNumber, ECS: "source.bytes", Sigma: "BytesSent"},
	{Name: "bytes_in", Kind: KindNumber, ECS: "destination.bytes", Sigma: "BytesReceived"},
	{Name: "file_hash", Kind: KindText, ECS: "file.hash", Sigma: "Hashes", Aliases: []string{"hash"}, free: true},
	{Name: "batch", Kind: KindText, ECS: "labels.batch", exact: true},
	{Name: "id", Kind: KindText, ECS: "event.id", exact: true, derived: "coalesce(nullif(id, ''), batch || '-' || batch_row)"},
	{Name: "raw", Kind: KindText, ECS: "event.original", Aliases: []string{"message"}, free: true},
	{Name: "drill", Kind: KindBool, ECS: "labels.drill"},
	{Name: "ip", Kind: KindAddress, ECS: "related.ip", either: []string{"source_ip", "destination_ip"}},
	{Name: "port", Kind: KindNumber, either: []string{"source_port", "destination_port"}},
}

// Fields returns every known name, for suggestions.
func Fields() []Field {
	all := slices.Clone(table)
	for i := range all {
		all[i] = all[i].finished()
	}
	return all
}

func (f Field) finished() Field {
	f.known = true
	f.Words = "search.field." + f.Name
	return f
}

// Resolve returns the field of a name in any of its spellings, upper and lower
// case alike. A name that is not known is that of an entry in the map of
// fields, and stays as it is.
func Resolve(name string) Field {
	for _, f := range table {
		if strings.EqualFold(name, f.Name) || f.ECS != "" && strings.EqualFold(name, f.ECS) || f.Sigma != "" && strings.EqualFold(name, f.Sigma) ||
			slices.ContainsFunc(f.Aliases, func(a string) bool { return strings.EqualFold(name, a) }) {
			return f.finished()
		}
	}
	return Field{Name: name, Kind: KindText}
}

// Known says whether the field has a column; any other is looked up in the map
// of fields of each event.
func (f Field) Known() bool { return f.known }

// Either returns the columns that a name like ip stands for.
func (f Field) Either() []string { return slices.Clone(f.either) }

// Free says whether free text looks into the field.
func (f Field) Free() bool { return f.free }

// ParseField resolves a name that did not stand in a query. Names like ip,
// which are two columns, are fault.Invalid, as is what is not a name.
func ParseField(name string) (Field, error) {
	s := scanner{text: []rune(name)}
	if f := Resolve(name); s.name() == name && name != "" && len(name) <= 256 && len(f.either) == 0 {
		return f, nil
	}
	return Field{}, newError(0, "", "search.expect-name")
}
