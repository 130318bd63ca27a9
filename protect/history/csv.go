package history

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/i18n"
)

// Names says what people call the ids in a line.
type Names struct {
	Site, Host, Class func(id string) string
	Args              func(args map[string]string) map[string]string // of incident.Entry.Say
}

// WriteCSV writes lines as a spreadsheet: when (Japan), kind, mark, site,
// machine, class, what happened, id of the record. The first bytes tell Excel
// that it is UTF-8.
func WriteCSV(w io.Writer, lines []Line, n Names, lang string) error {
	if _, err := io.WriteString(w, "\ufeff"); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	c := csv.NewWriter(w)
	head := []string{}
	for _, k := range []string{"at", "kind", "mark", "site", "host", "class", "what", "ref"} {
		head = append(head, i18n.T(lang, "protect.history.csv."+k, nil))
	}
	_ = c.Write(head) // Error tells at the end
	for _, l := range lines {
		mark := ""
		if l.Mark != Plain {
			mark = i18n.T(lang, "protect.history.mark."+string(l.Mark), nil)
		}
		_ = c.Write([]string{l.At.In(clock.Tokyo()).Format(time.DateTime), i18n.T(lang, "protect.history.kind."+string(l.Kind), nil), mark,
			cell(n.Site(l.Site)), cell(n.Host(l.Host)), cell(n.Class(l.Class)), cell(l.Entry().Say(lang, i18n.T, n.Args(l.Args))), cell(l.Ref)})
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	return nil
}

// cell keeps a spreadsheet from taking text that somebody typed for a formula.
func cell(s string) string {
	if s != "" && strings.ContainsAny(s[:1], "=+-@\t\r") {
		return "'" + s
	}
	return s
}
