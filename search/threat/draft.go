package threat

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Draft is what a file would add.
type Draft struct {
	ID       string             `json:"id"`
	By       string             `json:"by"` // person id
	At       time.Time          `json:"at"`
	Format   ioc.Format         `json:"format"`
	Name     string             `json:"name"` // what the file calls itself
	Digest   string             `json:"digest"`
	Count    int                `json:"count"`
	Kinds    map[ioc.Kind]int   `json:"kinds"`
	Known    int                `json:"known"` // that lists in force hold already
	Twice    int                `json:"twice"`
	Reasons  map[ioc.Reason]int `json:"reasons"`
	Refused  []ioc.Refused      `json:"refused"`
	Examples []ioc.Indicator    `json:"examples"`
	Cut      bool               `json:"cut"`
}

const maxExamples = 20

// Draft reads a file and keeps what it would add for a day. Nothing is in force
// by that. An empty format is found out.
func (d *Desk) Draft(ctx context.Context, data []byte, format ioc.Format, by auth.Person) (Draft, error) {
	switch {
	case len(data) > ioc.MaxBytes:
		return Draft{}, fault.New(fault.Invalid, "threat.large", ioc.MaxBytes>>20)
	case format != "" && !slices.Contains(ioc.Formats(), format):
		return Draft{}, fault.New(fault.Invalid, "threat.format")
	}
	at := d.moment()
	p := ioc.Parse(data, format, d.own, at)
	out := Draft{ID: clock.ID("td", at), By: by.ID, At: at, Format: p.Format, Name: p.Name, Count: len(p.Indicators), Kinds: map[ioc.Kind]int{},
		Twice: p.Twice, Reasons: p.Reasons, Refused: p.Refused, Examples: p.Indicators[:min(len(p.Indicators), maxExamples)], Cut: p.Cut}
	now := d.engine.Lists()
	for _, i := range p.Indicators {
		out.Kinds[i.Kind]++
		if now.Holds(i) {
			out.Known++
		}
	}
	content, digest, err := pack(p.Indicators)
	if err != nil {
		return Draft{}, err
	}
	out.Digest = digest
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		old := state.Nanos(at.Add(-draftFor))
		for _, q := range []string{`DELETE FROM ioc_content WHERE at < $1 AND id IN (SELECT id FROM ioc_draft)`, `DELETE FROM ioc_draft WHERE at < $1`} {
			if _, err := tx.ExecContext(ctx, q, old); err != nil {
				return err
			}
		}
		var open int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM ioc_draft`).Scan(&open); err != nil {
			return err
		}
		if open >= maxDrafts {
			return fault.New(fault.Busy, "threat.drafts", maxDrafts)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO ioc_draft (id, at, body) VALUES ($1, $2, $3)`, out.ID, state.Nanos(at), state.JSON(out)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO ioc_content (id, at, body) VALUES ($1, $2, $3)`, out.ID, state.Nanos(at), content)
		return err
	})
	if err != nil {
		return Draft{}, fmt.Errorf("keep draft of a threat list: %w", err)
	}
	return out, nil
}

// OpenDraft returns a draft of one's own.
func (d *Desk) OpenDraft(ctx context.Context, id string, by auth.Person) (Draft, error) {
	var body string
	var out Draft
	err := d.db.QueryRow(ctx, `SELECT body FROM ioc_draft WHERE id = $1`, id).Scan(&body)
	if err == nil {
		err = json.Unmarshal([]byte(body), &out)
	}
	if errors.Is(err, sql.ErrNoRows) || err == nil && out.By != by.ID {
		return Draft{}, fault.New(fault.Missing, "threat.no-draft")
	}
	if err != nil {
		return Draft{}, fmt.Errorf("open draft of a threat list: %w", err)
	}
	return out, nil
}

// pack makes text of indicators, with the digest of what is in it.
func pack(list []ioc.Indicator) (content, digest string, err error) {
	plain, err := json.Marshal(list)
	if err != nil {
		return "", "", fmt.Errorf("pack a threat list: %w", err)
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err = z.Write(plain)
	if err = errors.Join(err, z.Close()); err != nil {
		return "", "", fmt.Errorf("pack a threat list: %w", err)
	}
	sum := sha256.Sum256(plain)
	return base64.StdEncoding.EncodeToString(out.Bytes()), hex.EncodeToString(sum[:]), nil
}

// maxPlain bounds what content unpacks to.
const maxPlain = 512 << 20

// unpack undoes pack. What is not what the digest says is an error.
func unpack(content, digest string) ([]ioc.Indicator, error) {
	packed, err := base64.StdEncoding.DecodeString(content)
	if err != nil {
		return nil, fmt.Errorf("unpack a threat list: %w", err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack a threat list: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxPlain))
	if err != nil {
		return nil, fmt.Errorf("unpack a threat list: %w", err)
	}
	if sum := sha256.Sum256(plain); hex.EncodeToString(sum[:]) != digest {
		return nil, errors.New("unpack a threat list: it is not what was recorded")
	}
	var list []ioc.Indicator
	if err := json.Unmarshal(plain, &list); err != nil {
		return nil, fmt.Errorf("unpack a threat list: %w", err)
	}
	return list, nil
}
