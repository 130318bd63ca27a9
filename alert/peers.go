package alert

import (
	"context"
	"fmt"
	"strings"

	"github.com/sonae/sonae/state"
)

// How much of a long list an Alert carries along.
const (
	maxPeers     = 20
	maxProcesses = 20
)

// complete fills in the lists that stand in tables of their own, with a fixed
// number of queries however many alerts there are.
func complete(ctx context.Context, q querier, all ...stored) ([]Alert, error) {
	ids := make([]string, 0, len(all))
	for _, a := range all {
		ids = append(ids, a.ID)
	}
	out := make([]Alert, 0, len(all))
	if len(all) == 0 {
		return out, nil
	}
	talked, err := peers(ctx, q, ids, maxPeers, 0)
	if err != nil {
		return nil, err
	}
	counts, err := countPeers(ctx, q, ids)
	if err != nil {
		return nil, err
	}
	ran, err := processes(ctx, q, ids)
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		full := a.Alert
		full.Peers, full.Process = orNone(talked[a.ID]), orNone(ran[a.ID])
		full.PeersAll, full.Addresses = counts[a.ID].peers, counts[a.ID].addresses
		full.Events = make([]string, 0, len(a.newest))
		for _, e := range a.newest {
			full.Events = append(full.Events, e.ID)
		}
		out = append(out, full)
	}
	return out, nil
}

// orNone makes an empty list of none, as JSON tells it.
func orNone[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// marks are the placeholders of so many arguments, and the arguments.
func marks(ids []string) (string, []any) {
	var b strings.Builder
	args := make([]any, 0, len(ids))
	for i, id := range ids {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", i+1)
		args = append(args, id)
	}
	return b.String(), args
}

// Peers returns those the host talked to, the most bytes first, a page at a
// time, and how many there are. Several connections to one address are one
// peer. limit is 50 when 0 and at most 1000.
func (d *Desk) Peers(ctx context.Context, alert string, limit, offset int) ([]Peer, int, error) {
	if limit <= 0 {
		limit = 50
	}
	q := readDB{d.db}
	counts, err := countPeers(ctx, q, []string{alert})
	if err != nil {
		return nil, 0, err
	}
	all, err := peers(ctx, q, []string{alert}, min(limit, 1000), max(offset, 0))
	return orNone(all[alert]), counts[alert].peers, err
}

// peers returns a part of the peers of each alert.
func peers(ctx context.Context, q querier, alerts []string, limit, offset int) (map[string][]Peer, error) {
	in, args := marks(alerts)
	// The surest verdict stands for the peer: "1certain" sorts before the rest.
	rows, err := q.query(ctx, fmt.Sprintf(`SELECT alert, address, protocol, verdict, sent, received, first_at, last_at FROM (
			SELECT alert, address, protocol,
				MIN(CASE confidence WHEN 'certain' THEN '1' WHEN 'probable' THEN '2' WHEN 'hint' THEN '3' ELSE '4' END || verdict) AS verdict,
				CAST(SUM(sent - sent_before) AS BIGINT) AS sent, CAST(SUM(received - received_before) AS BIGINT) AS received,
				MIN(first_at) AS first_at, MAX(last_at) AS last_at,
				ROW_NUMBER() OVER (PARTITION BY alert ORDER BY SUM(sent - sent_before) + SUM(received - received_before) DESC, address, protocol) AS place
			FROM alert_flow WHERE alert IN (%s) GROUP BY alert, address, protocol) AS peer
		WHERE place > %d AND place <= %d ORDER BY alert, place`, in, offset, offset+limit), args...)
	if err != nil {
		return nil, fmt.Errorf("peers of alerts: %w", err)
	}
	defer rows.Close()
	out := map[string][]Peer{}
	for rows.Next() {
		var p Peer
		var alert, verdict string
		var first, last int64
		if err := rows.Scan(&alert, &p.Address, &p.Protocol, &verdict, &p.Sent, &p.Received, &first, &last); err != nil {
			return nil, fmt.Errorf("peers of alerts: %w", err)
		}
		p.Confidence = map[byte]string{'1': "certain", '2': "probable", '3': "hint"}[verdict[0]]
		p.Verdict = verdict[1:]
		p.First, p.Last = state.Time(first), state.Time(last)
		out[alert] = append(out[alert], p)
	}
	return out, rows.Err()
}

// peerCount is how many peers an alert has, and how many different addresses
// those are.
type peerCount struct{ peers, addresses int }

func countPeers(ctx context.Context, q querier, alerts []string) (map[string]peerCount, error) {
	in, args := marks(alerts)
	rows, err := q.query(ctx, `SELECT alert, COUNT(*), COUNT(DISTINCT ip)
		FROM (SELECT DISTINCT alert, address, protocol, ip FROM alert_flow WHERE alert IN (`+in+`)) AS peer GROUP BY alert`, args...)
	if err != nil {
		return nil, fmt.Errorf("count peers of alerts: %w", err)
	}
	defer rows.Close()
	out := map[string]peerCount{}
	for rows.Next() {
		var alert string
		var n peerCount
		if err := rows.Scan(&alert, &n.peers, &n.addresses); err != nil {
			return nil, fmt.Errorf("count peers of alerts: %w", err)
		}
		out[alert] = n
	}
	return out, rows.Err()
}

// processes returns the newest programs of each alert, those with a name first.
func processes(ctx context.Context, q querier, alerts []string) (map[string][]Process, error) {
	in, args := marks(alerts)
	rows, err := q.query(ctx, fmt.Sprintf(`SELECT alert, pid, image, command, person FROM (
			SELECT alert, pid, image, command, person,
				ROW_NUMBER() OVER (PARTITION BY alert ORDER BY CASE image WHEN '' THEN 1 ELSE 0 END, last_at DESC, pid, image, command, person) AS place
			FROM alert_process WHERE alert IN (%s)) AS ran
		WHERE place <= %d ORDER BY alert, place`, in, maxProcesses), args...)
	if err != nil {
		return nil, fmt.Errorf("processes of alerts: %w", err)
	}
	defer rows.Close()
	out := map[string][]Process{}
	for rows.Next() {
		var alert string
		var p Process
		if err := rows.Scan(&alert, &p.PID, &p.Image, &p.Command, &p.User); err != nil {
			return nil, fmt.Errorf("processes of alerts: %w", err)
		}
		out[alert] = append(out[alert], p)
	}
	return out, rows.Err()
}
