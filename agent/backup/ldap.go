package backup

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"strconv"
	"strings"

	"github.com/sonae/sonae/protect/job"
)

// ldap is the configuration of OpenLDAP and each of its databases as LDIF, read
// from the files of a running server, which its database permits.
func ldap(ctx context.Context, s job.Source) ([]stream, error) {
	t := tool{account: s.User}
	args := []string{"-o", "ldif-wrap=no"}
	if s.Dir != "" {
		args = append(args, "-F", s.Dir)
	}
	args = args[:len(args):len(args)]
	one := func(name string, which ...string) stream {
		return stream{name + ".ldif", func(ctx context.Context, w io.Writer) error {
			return t.pour(ctx, w, "slapcat", append(args, which...)...)
		}}
	}
	names := s.Databases
	if len(names) == 0 {
		out, err := t.ask(ctx, "slapcat", append(args, "-n", "0")...)
		if err != nil {
			return nil, err
		}
		names = suffixes(out)
	}
	all := []stream{one("config", "-n", "0")}
	for _, name := range names {
		if _, err := strconv.ParseUint(name, 10, 16); err == nil {
			all = append(all, one("database-"+name, "-n", name))
			continue
		}
		all = append(all, one(name, "-b", name))
	}
	return all, nil
}

// suffixes lists those of the databases in the LDIF of a configuration; its lines
// are not wrapped.
func suffixes(ldif []byte) (all []string) {
	for line := range bytes.Lines(ldif) {
		value, ok := strings.CutPrefix(strings.TrimRight(string(line), "\r\n"), "olcSuffix:")
		if !ok {
			continue
		}
		if coded, ok := strings.CutPrefix(value, ":"); ok { // not plain ASCII
			b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(coded))
			if err != nil {
				continue
			}
			value = string(b)
		}
		if value = strings.TrimSpace(value); value != "" && !strings.HasPrefix(value, "-") && !strings.ContainsRune(value, 0) {
			all = append(all, value)
		}
	}
	return all
}
