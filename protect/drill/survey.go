package drill

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Servers that a dump can be of.
const (
	ofPostgreSQL = "PostgreSQL"
	ofMariaDB    = "MariaDB" // and MySQL
)

// survey is what a dump in SQL says of itself. Written to, it reads the dump as it
// comes by; it understands what pg_dump, pg_dumpall, mariadb-dump and mysqldump
// write, and passes over data. What it asks for too much harms nobody: the server
// that it is for is thrown away.
type survey struct {
	server   string   // ofPostgreSQL, ofMariaDB; empty: nothing in it says what it is
	cluster  bool     // of pg_dumpall
	creates  bool     // it makes its own databases
	whole    bool     // the last thing in it is the line that its program writes at the end
	public   bool     // it makes the schema public, which every database has
	cleans   bool     // it first drops what a server may have of it, and a new one does not
	database string   // that it was made of, where it says so
	encoding string   // of PostgreSQL
	version  float64  // of PostgreSQL, that it needs at least: 9.6, 15
	needs    []string // roles of PostgreSQL; accounts of MariaDB as they stand behind DEFINER=

	made    []string // roles that it makes itself
	line    []byte   // the beginning of one that has not ended
	lines   int
	begun   bool // what it drops is behind it
	copying bool // rows are coming by
}

// Bounds of what is kept of a dump.
const (
	maxDumpLine = 64 << 10 // bytes of a line; statements that matter are shorter
	headLines   = 50       // in which a dump says what it is
	maxNeeds    = 10_000
)

// Write never fails.
func (s *survey) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		part := b
		if end >= 0 {
			part = b[:end]
		}
		s.line = append(s.line, part[:min(len(part), maxDumpLine-len(s.line))]...)
		if end < 0 {
			break
		}
		s.read(strings.TrimRight(string(s.line), "\r"))
		s.line, b = s.line[:0], b[end+1:]
	}
	return n, nil
}

// end reads a last line that nothing ended, and what is still missing then.
func (s *survey) end() {
	if len(s.line) > 0 {
		s.read(string(s.line))
	}
	s.line = nil
	s.needs = slices.DeleteFunc(s.needs, func(r string) bool { return slices.Contains(s.made, r) })
}

func (s *survey) read(l string) {
	if s.lines++; s.lines <= headLines && s.server == "" {
		s.head(l)
	}
	switch {
	case s.copying:
		s.copying, s.whole = l != `\.`, false
	case l == "" || l == "--":
	case strings.HasPrefix(l, "-- "):
		s.comment(l)
	case strings.HasPrefix(l, `\unrestrict `): // the last line of newer ones
	default:
		s.whole = false
		if s.server == ofMariaDB {
			s.mariadb(l)
		} else {
			s.postgres(l)
		}
	}
}

// head reads what a dump is.
func (s *survey) head(l string) {
	switch {
	case strings.HasPrefix(l, "-- PostgreSQL database cluster dump"):
		s.server, s.cluster, s.creates = ofPostgreSQL, true, true
	case strings.HasPrefix(l, "-- PostgreSQL database dump"):
		s.server = ofPostgreSQL
	case strings.HasPrefix(l, "-- MariaDB dump"), strings.HasPrefix(l, "-- MySQL dump"):
		s.server = ofMariaDB
	}
}

func (s *survey) comment(l string) {
	s.begun = s.begun || begun(l)
	if v, ok := strings.CutPrefix(l, "-- Dumped from database version "); ok {
		s.version = max(s.version, major(v))
	}
	if v, ok := strings.CutPrefix(l, "-- Dumped by pg_dump version "); ok {
		s.version = max(s.version, major(v))
	}
	if _, name, ok := strings.Cut(l, "Database: "); ok && s.database == "" && s.server == ofMariaDB && strings.HasPrefix(l, "-- Host: ") {
		s.database = strings.TrimSpace(name)
	}
	switch s.server {
	case ofMariaDB:
		s.whole = s.whole || strings.HasPrefix(l, "-- Dump completed")
	case ofPostgreSQL:
		s.whole = s.whole || s.cluster && l == "-- PostgreSQL database cluster dump complete" || !s.cluster && l == "-- PostgreSQL database dump complete"
	}
}

// major is the version of a PostgreSQL as its programs' folders have it; 0 where
// it is none.
func major(v string) float64 {
	parts := strings.FieldsFunc(v, func(r rune) bool { return r < '0' || r > '9' })
	if len(parts) == 0 {
		return 0
	}
	text := parts[0]
	if len(text) == 1 && len(parts) > 1 { // before 10 the second number was part of it
		text += "." + parts[1]
	}
	n, _ := strconv.ParseFloat(text, 64)
	return n
}

func (s *survey) postgres(l string) {
	s.begun = s.begun || begun(l)
	switch {
	case !s.begun && dropping(l):
		s.cleans = true
	case strings.HasPrefix(l, "COPY ") && strings.HasSuffix(l, " FROM stdin;"):
		s.copying = true
	case strings.HasPrefix(l, "CREATE DATABASE "), strings.HasPrefix(l, `\connect `):
		s.creates = true
	case l == "CREATE SCHEMA public;":
		s.public = true
	case strings.HasPrefix(l, "SET client_encoding = '"):
		s.encoding = strings.TrimSuffix(strings.TrimPrefix(l, "SET client_encoding = '"), "';")
	case strings.HasPrefix(l, "CREATE ROLE "):
		s.made = append(s.made, roles(strings.Replace(l, "CREATE ROLE ", "TO ", 1))...)
	case begins(l, "ALTER ", "GRANT ", "REVOKE ", "CREATE POLICY ", "CREATE USER MAPPING ", "SET SESSION AUTHORIZATION "):
		s.need(roles(l)...)
	}
}

// begun says whether a line is the first behind what a dump of --clean drops, and
// dropping whether it drops something. All of these stand on lines of their own.
func begun(l string) bool { return begins(l, "-- Name: ", "-- Roles", `\connect `) }

func dropping(l string) bool {
	return begins(l, "DROP ") || begins(l, "ALTER ") && strings.Contains(l, " DROP ")
}

func begins(l string, with ...string) bool {
	return slices.ContainsFunc(with, func(w string) bool { return strings.HasPrefix(l, w) })
}

// roles are the names in a statement that can be those of roles. Words of SQL are
// written in capitals, names that look like them within quotes.
func roles(l string) (out []string) {
	const name = `(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)`
	after := regexp.MustCompile(`(?:TO|FROM|FOR|ROLE|AUTHORIZATION|GRANTED BY) (` + name + `(?:, ` + name + `)*)`)
	one := regexp.MustCompile(name)
	for _, m := range after.FindAllStringSubmatch(l, -1) {
		for _, n := range one.FindAllString(m[1], -1) {
			if n[0] == '"' {
				n = strings.ReplaceAll(n[1:len(n)-1], `""`, `"`)
			}
			if !strings.HasPrefix(n, "pg_") && n != "public" && n != "none" { // those are the server's
				out = append(out, n)
			}
		}
	}
	return out
}

func (s *survey) mariadb(l string) {
	switch {
	case strings.HasPrefix(l, "CREATE DATABASE "), strings.HasPrefix(l, "USE `"):
		s.creates = true
	case strings.Contains(l, "DEFINER=`") && begins(l, "/*!", "CREATE "):
		for _, m := range regexp.MustCompile("DEFINER=(`(?:[^`]|``)+`@`(?:[^`]|``)+`)").FindAllStringSubmatch(l, -1) {
			s.need(m[1])
		}
	}
}

func (s *survey) need(all ...string) {
	for _, n := range all {
		if len(s.needs) < maxNeeds && !slices.Contains(s.needs, n) {
			s.needs = append(s.needs, n)
		}
	}
}
