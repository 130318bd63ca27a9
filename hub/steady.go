package hub

import (
	"net/http"
	"time"
)

// Answers may last: live pages, exports and evidence are long. Who does not
// read them must not keep what they are made with, such as one of the few
// searches that run at once.
const (
	defaultStall = 30 * time.Second // for one portion
	portion      = 64 << 10         // bytes, so that a slow line has time for each
)

// steady ends an answer whose reader takes nothing for stall.
func steady(next http.Handler, stall time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &steadyWriter{ResponseWriter: w, control: http.NewResponseController(w), stall: stall}
		_ = s.control.SetWriteDeadline(time.Time{})                                                // that of the request before
		defer func() { _ = s.control.SetWriteDeadline(time.Now().Add(max(stall, time.Minute))) }() // for what net/http still holds back
		next.ServeHTTP(s, r)
	})
}

type steadyWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
}

// Unwrap lets http.ResponseController reach the writer underneath.
func (w *steadyWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *steadyWriter) Write(b []byte) (n int, err error) {
	for first := true; first || len(b) > 0 && err == nil; first = false {
		piece := b[:min(len(b), portion)]
		b = b[len(piece):]
		err = w.within(func() error {
			done, err := w.ResponseWriter.Write(piece)
			n += done
			return err
		})
	}
	return n, err
}

// FlushError sends what is held back.
func (w *steadyWriter) FlushError() error { return w.within(w.control.Flush) }

// within bounds how long f may take. With HTTP/2 a deadline also ends what is
// merely quiet, so none stays behind.
func (w *steadyWriter) within(f func() error) error {
	if err := w.control.SetWriteDeadline(time.Now().Add(w.stall)); err != nil {
		return err
	}
	err := f()
	_ = w.control.SetWriteDeadline(time.Time{}) // as the one before; a broken connection says so at the next write
	return err
}
