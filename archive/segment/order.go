package segment

import (
	"cmp"
	"strings"
	"time"
)

const bucketWidth = int64(10 * time.Minute)

// compare orders the rows of a segment. Day and kind come first, because merged
// segments are divided by them. Then ten minutes, so that what is newest lies
// in few row groups; in these the events of a host stand together, which look
// alike and are asked for together. The rest makes the order total.
func compare(x, y *Row) int {
	if c := cmp.Compare(x.day(), y.day()); c != 0 {
		return c
	}
	if c := strings.Compare(x.Kind, y.Kind); c != 0 {
		return c
	}
	if c := cmp.Compare(floor(x.Time, bucketWidth), floor(y.Time, bucketWidth)); c != 0 {
		return c
	}
	if c := strings.Compare(x.Host, y.Host); c != 0 {
		return c
	}
	if c := cmp.Compare(x.Time, y.Time); c != 0 {
		return c
	}
	return cmp.Or(strings.Compare(x.Batch, y.Batch), cmp.Compare(x.Row, y.Row))
}

// day returns the day of a row, UTC, counted from 1970.
func (r *Row) day() int64 { return floor(r.Time, int64(24*time.Hour)) }

func floor(n, by int64) int64 {
	q := n / by
	if n%by < 0 {
		q--
	}
	return q
}
