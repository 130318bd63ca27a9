package hub

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/sonae/sonae/fault"
)

// dead lists messages that a join could not use.
func (h *Hub) dead(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.ParseUint(r.FormValue("after"), 10, 64)
	if err != nil && r.FormValue("after") != "" {
		http.Error(w, "after is not a number", http.StatusBadRequest)
		return
	}
	letters, err := h.bus.Dead(r.Context(), after, 100)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(letters); err != nil {
		h.log.Warn("dead letters not sent", "err", err)
	}
}

// revive offers one of them again.
func (h *Hub) revive(w http.ResponseWriter, r *http.Request) {
	seq, err := strconv.ParseUint(r.PathValue("seq"), 10, 64)
	if err != nil {
		http.Error(w, "that is not the number of a message", http.StatusBadRequest)
		return
	}
	err = h.bus.Revive(r.Context(), seq)
	switch {
	case fault.Of(err) == fault.Missing:
		http.Error(w, "there is no such message", http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		h.log.Info("dead letter offered again", "seq", seq)
		w.WriteHeader(http.StatusNoContent)
	}
}
