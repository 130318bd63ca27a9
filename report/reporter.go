package report

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Reporter is who reports. Empty fields are marked as missing on the form.
type Reporter struct {
	Organisation   string `json:"organisation"`   // 報告する事業者の名称
	Address        string `json:"address"`        // 住所
	Representative string `json:"representative"` // 代表者の氏名
	Department     string `json:"department"`     // 担当部署
	Person         string `json:"person"`         // 担当者の氏名
	Phone          string `json:"phone"`          // 電話番号
	Mail           string `json:"mail"`           // メールアドレス
}

// ReporterField is one field of Reporter by its id (the JSON name).
type ReporterField struct{ ID, Value string }

// Fields returns all fields in the order of the form.
func (r Reporter) Fields() []ReporterField {
	return []ReporterField{{"organisation", r.Organisation}, {"address", r.Address}, {"representative", r.Representative},
		{"department", r.Department}, {"person", r.Person}, {"phone", r.Phone}, {"mail", r.Mail}}
}

// boxes are the fields as they stand on a document.
func (r Reporter) boxes() []Field {
	var all []Field
	for _, f := range r.Fields() {
		all = append(all, Field{ID: f.ID, Label: Word("report.reporter."+f.ID, nil), Value: Plain(f.Value), Missing: f.Value == ""})
	}
	return all
}

// reporterVersion is who stated the reporter and when. It is what the ledger
// binds (type "reporter", ref "<no>").
type reporterVersion struct {
	No       int       `json:"no"` // from 1, without gaps
	At       time.Time `json:"at"`
	By       string    `json:"by"` // person id
	Reporter Reporter  `json:"reporter"`
	Salt     string    `json:"salt"`
}

func (v reporterVersion) leaf() (leaf.Leaf, error) {
	return leaf.Of("reporter", strconv.Itoa(v.No), v.At, v)
}

// longestField is how many characters a field of the reporter may have.
const longestField = 200

// tidy brings a reporter into the one form that is stored: valid text on one
// line without blanks at its ends.
func (r Reporter) tidy() (Reporter, error) {
	for _, p := range []*string{&r.Organisation, &r.Address, &r.Representative, &r.Department, &r.Person, &r.Phone, &r.Mail} {
		*p = strings.TrimSpace(strings.Map(func(c rune) rune {
			if unicode.IsControl(c) {
				return ' '
			}
			return c
		}, strings.ToValidUTF8(*p, "\uFFFD")))
		if utf8.RuneCountInString(*p) > longestField {
			return r, fault.New(fault.Invalid, "report.reporter-long", longestField)
		}
	}
	return r, nil
}

// Reporter returns who reports, as stated last; empty when nobody has.
func (d *Desk) Reporter(ctx context.Context) (Reporter, error) {
	v, err := lastReporter(d.db.QueryRow(ctx, newestReporter))
	if err != nil {
		return Reporter{}, fmt.Errorf("read reporter: %w", err)
	}
	return v.Reporter, nil
}

// SetReporter states who reports from now on; documents that were made keep
// what they say. Stating the same again changes nothing. Invalid: a field is
// too long.
func (d *Desk) SetReporter(ctx context.Context, r Reporter, by auth.Person) error {
	r, err := r.tidy()
	if err != nil {
		return err
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		last, err := lastReporter(tx.QueryRowContext(ctx, newestReporter))
		if err != nil || last.Reporter == r {
			return err
		}
		v := reporterVersion{No: last.No + 1, At: d.moment(), By: by.ID, Reporter: r, Salt: leaf.Salt()}
		l, err := v.leaf()
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO reporter (no, set_at, set_by, body) VALUES ($1, $2, $3, $4)`,
			v.No, state.Nanos(v.At), v.By, state.JSON(v)); err != nil {
			return err
		}
		return tx.Emit(ctx, "record.reporter", "record.reporter:"+l.Ref, l)
	})
	if err != nil {
		return fmt.Errorf("set reporter: %w", err)
	}
	return nil
}

const newestReporter = `SELECT body FROM reporter ORDER BY no DESC LIMIT 1`

// lastReporter reads the newest version; the zero one when there is none.
func lastReporter(row scanner) (v reporterVersion, err error) {
	var body string
	switch err := row.Scan(&body); {
	case errors.Is(err, sql.ErrNoRows):
		return v, nil
	case err != nil:
		return v, err
	}
	return v, json.Unmarshal([]byte(body), &v)
}

// reporterLeaf makes the leaf of a stored version from its columns.
func reporterLeaf(columns []any) (leaf.Leaf, error) {
	var v reporterVersion
	unusable := leaf.Leaf{Ref: fmt.Sprint(columns[1])}
	if err := rows.Body(columns[0], &v); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], int64(v.No), state.Nanos(v.At), v.By); err != nil {
		return unusable, err
	}
	return v.leaf()
}
