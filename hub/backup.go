package hub

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/sonae/sonae/backup"
)

// backupParts is what a backup of the running hub copies.
func (h *Hub) backupParts() backup.Parts {
	return backup.Parts{Dir: h.cfg.Dir, State: h.state, Pending: h.bus.Pending, Streams: streams, HoldArchive: h.archive.Still, HoldLedger: h.ledger.Hold, HoldCounts: h.counts.Hold, Now: h.cfg.Now}
}

// backUp answers with an encrypted backup of the hub, whose digest follows in a
// trailer. An answer that is cut short is none.
func (h *Hub) backUp(w http.ResponseWriter, r *http.Request) {
	var order backup.Order
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&order); err != nil {
		http.Error(w, "the order cannot be read", http.StatusBadRequest)
		return
	}
	if h.store != nil || h.cfg.Keys != "" {
		http.Error(w, "this hub keeps its archive, ledger and evidence in the storage that hubs share, or its keys elsewhere: back up the bucket, the database and the folder of keys by their own means", http.StatusConflict)
		return
	}
	lock, err := order.Lock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Trailer", backup.DigestTrailer)
	h.log.Info("backup begins")
	made, err := backup.Backup(r.Context(), h.backupParts(), w, lock)
	if err != nil {
		h.log.Error("backup ended early", "err", err)
		panic(http.ErrAbortHandler) // cuts the answer
	}
	w.Header().Set(backup.DigestTrailer, made.Digest)
	h.log.Info("backup made", "bytes", made.Bytes)
}
