package web

import (
	"bytes"

	"github.com/sonae/sonae/flow/proto"
)

// private are parts of parameter names whose values are not kept: secrets, and
// what names a patient in DICOMweb and FHIR.
var private = [...]string{"pass", "pwd", "passwd", "secret", "token", "apikey", "api_key", "session", "sessid", "sid", "auth", "signature", "sig",
	"patient", "name", "family", "given", "birth", "dob", "phone", "telecom", "address", "mynumber", "insur"}

// URI is a request target as text, with the values of private parameters and
// the password of a user replaced by stars.
func URI(b []byte) string {
	b = withoutUser(b)
	path, query, ok := bytes.Cut(b, []byte{'?'})
	if !ok {
		return proto.Text(b)
	}
	out := append(make([]byte, 0, len(b)), path...)
	for i, p := range bytes.Split(query, []byte{'&'}) {
		if i == 0 {
			out = append(out, '?')
		} else {
			out = append(out, '&')
		}
		key, value, ok := bytes.Cut(p, []byte{'='})
		out = append(out, key...)
		if !ok {
			continue
		}
		out = append(out, '=')
		if len(value) > 0 && isPrivate(key) {
			value = []byte("***")
		}
		out = append(out, value...)
	}
	return proto.Text(out)
}

// withoutUser cuts user:password@ out of http://user:password@host/.
func withoutUser(b []byte) []byte {
	scheme := bytes.Index(b, []byte("://"))
	if scheme < 0 || scheme > 8 {
		return b
	}
	from := scheme + 3
	end := bytes.IndexByte(b[from:], '/')
	if end < 0 {
		end = len(b) - from
	}
	at := bytes.LastIndexByte(b[from:from+end], '@')
	if at < 0 {
		return b
	}
	return append(append([]byte(nil), b[:from]...), b[from+at+1:]...)
}

// isPrivate compares whole words for the short names, so that "filename" and
// "inside" stay readable.
func isPrivate(key []byte) bool {
	lower := bytes.ToLower(key)
	for _, p := range private {
		i := bytes.Index(lower, []byte(p))
		if i < 0 {
			continue
		}
		if len(p) > 5 || len(lower) == len(p) {
			return true
		}
		before := i == 0 || !letter(lower[i-1])
		after := i+len(p) == len(lower) || !letter(lower[i+len(p)])
		if before && after {
			return true
		}
		if p == "pass" || p == "token" || p == "birth" {
			return true
		}
	}
	return false
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
