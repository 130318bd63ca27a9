package witness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/net/netutil"
)

const (
	maxConnections = 64
	typeSize       = "text/x.tlog.size" // C2SP tlog-witness
)

// Handler answers add-checkpoint, and GET checkpoint?origin=ORIGIN with the
// newest checkpoint that was cosigned, for readers who would not take it from
// the hub.
func (w *Witness) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", w.addCheckpoint)
	mux.HandleFunc("GET /checkpoint", w.getCheckpoint)
	return mux
}

func (w *Witness) addCheckpoint(out http.ResponseWriter, in *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(out, in.Body, maxRequest))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		http.Error(out, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		http.Error(out, "the request did not arrive whole", http.StatusBadRequest)
		return
	}
	line, err := w.add(body)
	if err != nil {
		w.refuse(out, err)
		return
	}
	out.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(out, line) // whoever hung up asks again
}

// refuse answers with the status that C2SP tlog-witness asks for.
func (w *Witness) refuse(out http.ResponseWriter, err error) {
	var stale staleError
	if errors.As(err, &stale) {
		out.Header().Set("Content-Type", typeSize)
		out.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(out, strconv.FormatUint(stale.known, 10)+"\n")
		return
	}
	for cause, status := range map[error]int{
		errRequest: http.StatusBadRequest, errBackward: http.StatusBadRequest,
		errUnknown: http.StatusNotFound, errUnsigned: http.StatusForbidden,
		errFork: http.StatusConflict, errProof: http.StatusUnprocessableEntity,
	} {
		if errors.Is(err, cause) {
			http.Error(out, err.Error(), status)
			return
		}
	}
	w.log.Error("cosignature not given", "err", err)
	http.Error(out, "the witness cannot write its memory", http.StatusInternalServerError)
}

func (w *Witness) getCheckpoint(out http.ResponseWriter, in *http.Request) {
	text, ok := w.Checkpoint(in.URL.Query().Get("origin"))
	if !ok {
		http.Error(out, "nothing was cosigned for this origin", http.StatusNotFound)
		return
	}
	out.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(out, text)
}

// Serve answers at l until ctx ends, and closes l. Requests are bounded in
// size, time and number.
func (w *Witness) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: w.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(w.log.Handler(), slog.LevelWarn)}
	ctx, stop := context.WithCancel(ctx)
	closed := make(chan error, 1)
	go func() {
		<-ctx.Done()
		end, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer stop()
		closed <- server.Shutdown(end)
	}()
	err := server.Serve(netutil.LimitListener(l, maxConnections))
	stop()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	if err := errors.Join(err, <-closed); err != nil {
		return fmt.Errorf("serve witness: %w", err)
	}
	return nil
}
