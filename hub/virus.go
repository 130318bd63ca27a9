package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/evidence/antivirus"
	"github.com/sonae/sonae/fault"
)

// Times between looking for evidence to scan.
const (
	scanEvery = 2 * time.Second
	scanAgain = 15 * time.Second // after the antivirus program did not answer
)

// openVirus returns the antivirus program that the hub asks, nil without one.
func (c Config) openVirus() (evidence.Scanner, error) {
	if c.Clamd == "" {
		return nil, nil
	}
	client, err := antivirus.New(c.Clamd)
	if err != nil {
		return nil, fault.New(fault.Invalid, "config.clamd").With(err)
	}
	return client, nil
}

// scanEvidence lets the antivirus program look at evidence as it comes, until
// ctx ends. While it does not answer, what is new waits for it.
func (h *Hub) scanEvidence(ctx context.Context) error {
	down := false
	for {
		wait := scanEvery
		n, err := h.vault.ScanNew(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if wait = scanAgain; !down {
				h.log.Error("the antivirus program does not look at evidence", "err", err)
			}
		case down:
			h.log.Info("the antivirus program looks at evidence again")
		}
		down = err != nil
		if n > 0 && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// infected makes an event of what the antivirus program found, so that rules
// decide about it as about all others.
func (h *Hub) infected(ctx context.Context, v evidence.Virus) error {
	sum := sha256.Sum256([]byte("sonae-infected " + v.Bag + "/" + v.Path))
	id := hex.EncodeToString(sum[:16])
	e := event.Event{ID: id + "-0", Time: v.At, Site: v.Site, Host: v.Host, Kind: event.KindLog, Product: "sonae", Category: "antivirus", Service: "clamav", Drill: v.Drill,
		Fields: map[string]string{"Filename": v.Path, "Signature": v.Signature, "Hashes": "SHA256=" + v.SHA256, "Bag": v.Bag, "Incident": v.Incident, "Action": "none"}}
	return h.offer(ctx, event.Batch{ID: id, Site: v.Site, Host: v.Host, SentAt: v.At, Events: []event.Event{e}})
}
