package segment

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// partKey names a part.
type partKey struct {
	origin, day int64
	kind        string
}

// parts adds up rows by origin, day and kind.
type parts struct {
	sums map[partKey]*Sum
	last *Sum // of key
	key  partKey
}

// of returns the sum that r belongs to.
func (p *parts) of(r *Row) *Sum {
	k := partKey{r.Origin, r.day(), r.Kind}
	if p.last != nil && k == p.key {
		return p.last
	}
	s := p.sums[k]
	if s == nil {
		s = &Sum{}
		p.sums[k] = s
	}
	p.last, p.key = s, k
	return s
}

// list returns the parts by number, day and kind.
func (p *parts) list() []Part {
	all := make([]Part, 0, len(p.sums))
	for k, s := range p.sums {
		all = append(all, Part{k.origin, Partition{dayOf(k.day), k.kind}, *s})
	}
	slices.SortFunc(all, func(x, y Part) int {
		return cmp.Or(cmp.Compare(x.Number, y.Number), x.Day.Compare(y.Day), strings.Compare(x.Kind, y.Kind))
	})
	return all
}

// dayOf returns the start of a day counted from 1970.
func dayOf(day int64) time.Time { return time.Unix(0, 0).UTC().AddDate(0, 0, int(day)) }

// originsOf adds sorted parts up by origin.
func originsOf(all []Part) []Origin {
	var origins []Origin
	for i := range all {
		if n := len(origins); n == 0 || origins[n-1].Number != all[i].Number {
			origins = append(origins, Origin{Number: all[i].Number})
		}
		origins[len(origins)-1].Sum.Add(&all[i].Sum)
	}
	return origins
}

// Parts reads a segment and returns what it holds of each origin, day and
// kind. It holds a page of each column in memory, and 2 kB a part.
func Parts(ctx context.Context, path string) ([]Part, error) {
	p := parts{sums: map[partKey]*Sum{}}
	var m summer
	err := Read(ctx, path, func(rows []Row) error {
		for i := range rows {
			if err := m.add(p.of(&rows[i]), &rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p.list(), nil
}

// WriteQuick writes rows for queries only: sorted, cheaply compressed, without
// sketch and sums, and not synced. Facts has none of those. The file name
// starts with a number.
func WriteQuick(path string, rows []Row) (Facts, error) {
	if len(rows) == 0 {
		return Facts{}, errors.New("write segment: no rows")
	}
	return write(path, rows, transient)
}

// Codecs are shared, because they keep their encoders, a megabyte each.
var (
	codec      = &zstd.Codec{Level: zstd.SpeedDefault, Concurrency: 1}
	quickCodec = &zstd.Codec{Level: zstd.SpeedFastest, Concurrency: 1}
)

// options are those of the Parquet writer.
func options(how purpose) []parquet.WriterOption {
	all := []parquet.WriterOption{parquet.KeyValueMetadata(layoutKey, layout), parquet.CreatedBy("sonae", "2", ""), parquet.DictionaryMaxBytes(256 << 10)}
	if how == transient {
		return append(all, parquet.Compression(quickCodec))
	}
	all = append(all, parquet.BloomFilters(bloomed()...))
	if how == fresh {
		return append(all, parquet.Compression(quickCodec))
	}
	return append(all, parquet.Compression(codec))
}
