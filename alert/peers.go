package alert

import (
	"context"
	"fmt"

	"github.com/sonae/sonae/state"
)

// How much of a long list an Alert carries along.
const (
	maxPeers     = 20
	maxProcesses = 20
)

// complete fills in the lists that stand in tables of their own.
func complete(ctx context.Context, q querier, a stored) (Alert, error) {
	out := a.Alert
	out.Events = make([]string, 0, len(a.newest))
	for _, e := range a.newest {
		out.Events = append(out.Events, e.ID)
	}
	var err error
	if out.Peers, err = peers(ctx, q, a.ID, maxPeers, 0); err != nil {
		return out, err
	}
	if out.PeersAll, out.Addresses, err = countPeers(ctx, q, a.ID); err != nil {
		return out, err
	}
	out.Process, err = processes(ctx, q, a.ID)
	return out, err
}

// Peers returns those the host talked to, the most bytes first, a page at a
// time, and how many there are. Several connections to one address are one
// peer. limit is 50 when 0 and at most 1000.
func (d *Desk) Peers(ctx context.Context, alert string, limit, offset int) ([]Peer, int, error) {
	if limit <= 0 {
		limit = 50
	}
	q := readDB{d.db}
	n, _, err := countPeers(ctx, q, alert)
	if err != nil {
		return nil, 0, err
	}
	all, err := peers(ctx, q, alert, min(limit, 1000), max(offset, 0))
	return all, n, err
}

func peers(ctx context.Context, q querier, alert string, limit, offset int) ([]Peer, error) {
	// The surest verdict stands for the peer: "1certain" sorts before the rest.
	rows, err := q.query(ctx, fmt.Sprintf(`SELECT address, protocol,
			MIN(CASE confidence WHEN 'certain' THEN '1' WHEN 'probable' THEN '2' WHEN 'hint' THEN '3' ELSE '4' END || verdict),
			CAST(SUM(sent - sent_before) AS BIGINT), CAST(SUM(received - received_before) AS BIGINT), MIN(first_at), MAX(last_at)
		FROM alert_flow WHERE alert = $1 GROUP BY address, protocol
		ORDER BY SUM(sent - sent_before) + SUM(received - received_before) DESC, address, protocol LIMIT %d OFFSET %d`, limit, offset), alert)
	if err != nil {
		return nil, fmt.Errorf("peers of alert %s: %w", alert, err)
	}
	defer rows.Close()
	out := []Peer{}
	for rows.Next() {
		var p Peer
		var verdict string
		var first, last int64
		if err := rows.Scan(&p.Address, &p.Protocol, &verdict, &p.Sent, &p.Received, &first, &last); err != nil {
			return nil, fmt.Errorf("peers of alert %s: %w", alert, err)
		}
		p.Confidence = map[byte]string{'1': "certain", '2': "probable", '3': "hint"}[verdict[0]]
		p.Verdict = verdict[1:]
		p.First, p.Last = state.Time(first), state.Time(last)
		out = append(out, p)
	}
	return out, rows.Err()
}

func countPeers(ctx context.Context, q querier, alert string) (n, addresses int, err error) {
	rows, err := q.query(ctx, `SELECT COUNT(*), COUNT(DISTINCT ip) FROM (SELECT DISTINCT address, protocol, ip FROM alert_flow WHERE alert = $1) AS peer`, alert)
	if err != nil {
		return 0, 0, fmt.Errorf("count peers of alert %s: %w", alert, err)
	}
	defer rows.Close()
	if rows.Next() {
		err = rows.Scan(&n, &addresses)
	}
	if err == nil {
		err = rows.Err()
	}
	return n, addresses, err
}

func processes(ctx context.Context, q querier, alert string) ([]Process, error) {
	rows, err := q.query(ctx, fmt.Sprintf(`SELECT pid, image, command, person FROM alert_process WHERE alert = $1
		ORDER BY CASE image WHEN '' THEN 1 ELSE 0 END, last_at DESC, pid, image, command, person LIMIT %d`, maxProcesses), alert)
	if err != nil {
		return nil, fmt.Errorf("processes of alert %s: %w", alert, err)
	}
	defer rows.Close()
	out := []Process{}
	for rows.Next() {
		var p Process
		if err := rows.Scan(&p.PID, &p.Image, &p.Command, &p.User); err != nil {
			return nil, fmt.Errorf("processes of alert %s: %w", alert, err)
		}
		out = append(out, p)
	}
	return out, rows.Err()
}
