package anomaly

import (
	"bytes"
	"path"
	"slices"
	"strings"
)

// Forms in which streams begin, besides the kinds that kindOf knows.
const (
	FormPostgreSQL = "pgdump" // pg_dump, custom format
	FormSQL        = "sql"    // statements of pg_dump, pg_dumpall, mariadb-dump or mysqldump
	FormLDIF       = "ldif"
	FormTar        = "tar"
	FormDomain     = "domain" // libvirt's description of a virtual machine
	FormAge        = "age"
	FormWAL        = "wal"   // a segment of PostgreSQL's log
	FormOther      = "other" // one for which there is no word
)

// due is the form in which a file must begin because an agent's source wrote it,
// "" when no source says. Streams are called "/SOURCE.WHAT.ENDING", see
// protect/job; segments of WAL lie in the folder where an agent gathers them.
func due(source, name string) string {
	if source == "" {
		return ""
	}
	if isSegment(path.Base(name)) {
		return FormWAL
	}
	what, ok := strings.CutPrefix(name, "/"+source+".")
	if !ok || strings.Contains(what, "/") {
		return ""
	}
	return map[string]string{".dump": FormPostgreSQL, ".sql": FormSQL, ".tar": FormTar, ".ldif": FormLDIF, ".xml": FormDomain, ".age": FormAge}[path.Ext(what)]
}

// isSegment knows what PostgreSQL calls a segment of WAL, whole or begun.
func isSegment(name string) bool {
	name = strings.TrimSuffix(name, ".partial")
	return len(name) == 24 && strings.Trim(name, "0123456789ABCDEF") == ""
}

// begins says whether bytes begin in a form.
func begins(form string, head []byte) bool {
	switch form {
	case FormAge:
		return bytes.HasPrefix(head, []byte("age-encryption.org/v1"))
	case FormDomain:
		return beginsWith(bytes.TrimSpace(head[:min(len(head), window)]), "<domain", "<?xml", "<!--")
	case FormLDIF: // slapcat writes nothing of a database without entries
		return len(head) == 0 || beginsWith(head, "dn:", "version:", "#")
	case FormSQL:
		return beginsWith(bytes.TrimSpace(head[:min(len(head), window)]), "--", "/*", `\restrict`, "CREATE ", "DROP ", "SET ", "USE ")
	case FormWAL:
		return isWAL(head)
	}
	return kindOf(head) == form
}

func beginsWith(b []byte, any ...string) bool {
	return slices.ContainsFunc(any, func(s string) bool { return bytes.HasPrefix(b, []byte(s)) })
}

// isWAL knows the head of a page of WAL: its magic (0xd0.. and 0xd1.. since
// version 8), flags of which there are few, and an address at the bounds of a
// page. A segment that nothing was written into yet is empty.
// https://github.com/postgres/postgres/blob/master/src/include/access/xlog_internal.h
func isWAL(b []byte) bool {
	if len(b) < 16 {
		return len(b) == 0
	}
	if bytes.Count(b[:16], []byte{0}) == 16 {
		return true
	}
	return (b[1] == 0xd0 || b[1] == 0xd1) && b[2] < 0x10 && b[3] == 0 && b[8] == 0 && b[9]&0x03 == 0
}

// formOf is the form in which bytes begin, "" when it is none that is known.
func formOf(head []byte) string {
	kind := kindOf(head)
	if kind != kindText {
		return kind
	}
	switch {
	case begins(FormSQL, head) && slices.ContainsFunc([]string{"PostgreSQL database", "MariaDB dump", "MySQL dump", "MariaDB-dump"}, func(s string) bool {
		return bytes.Contains(head[:min(len(head), 512)], []byte(s))
	}):
		return FormSQL
	case len(head) > 0 && beginsWith(head, "dn:", "version: 1"):
		return FormLDIF
	}
	return kind
}

// isWords says whether content of a form is text from its first byte to its last:
// dumps of MariaDB are made with --hex-blob, LDIF has BASE64 for what is no text.
func isWords(form string) bool { return form == FormSQL || form == FormLDIF || form == FormDomain }

// forms that have a word of their own.
func worded(form string) string {
	if slices.Contains([]string{FormPostgreSQL, FormSQL, FormLDIF, FormTar, FormDomain, FormAge, FormWAL, "qcow", "vmdk", "vhdx", kindDisk, kindGzip, "xz", "zstd", "bzip2", kindZip, kindText, kindSQLite}, form) {
		return form
	}
	return FormOther
}
