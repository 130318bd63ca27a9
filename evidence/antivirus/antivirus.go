// Package antivirus asks a ClamAV daemon what it thinks of a file.
//
// In: the address of clamd's socket and bytes. Out: Result. Always true: a file
// that was not looked at to its end is never clean: whatever keeps clamd from
// answering is an error; waiting is bounded; nothing is written on the disk and
// no path is told to clamd, which therefore needs no rights to files. Standard
// library only: hub and agent link it.
//
// Protocol: clamd(8), commands VERSION and INSTREAM.
package antivirus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"
)

// Verdict is what clamd thinks.
type Verdict string

// Verdicts. Only Clean says that nothing was found.
const (
	Clean    Verdict = "clean"
	Infected Verdict = "infected"
	TooLarge Verdict = "too-large" // more than clamd takes (StreamMaxLength)
	Failed   Verdict = "failed"    // clamd could not look at it; Detail says why
)

// Result is what clamd said of one file.
type Result struct {
	Verdict   Verdict
	Signature string // of Infected
	Detail    string // of Failed
}

// Errors of New and Scan.
var (
	ErrAddress = errors.New("antivirus: the address is unix:/PATH or tcp:HOST:PORT")
	ErrReply   = errors.New("antivirus: clamd's answer cannot be understood")
)

// Limits.
const (
	dialTime  = 3 * time.Second
	sendTime  = 30 * time.Second // for one chunk
	replyTime = 5 * time.Minute  // for looking at what was sent
	chunk     = 64 << 10
	maxReply  = 4096
)

// Client asks one clamd. It is safe for concurrent use; each question has a
// connection of its own.
type Client struct{ network, address string }

// New reads an address: unix:/run/clamav/clamd.ctl or tcp:host:port. Whether
// somebody answers there is not asked.
func New(address string) (*Client, error) {
	kind, rest, _ := strings.Cut(address, ":")
	switch {
	case kind == "unix" && strings.HasPrefix(rest, "/"):
		return &Client{"unix", rest}, nil
	case kind == "tcp":
		if host, port, err := net.SplitHostPort(rest); err == nil && host != "" && port != "" {
			return &Client{"tcp", rest}, nil
		}
	}
	return nil, ErrAddress
}

// Version is what clamd says of itself and its signatures, one line.
func (c *Client) Version(ctx context.Context) (string, error) {
	b, err := c.ask(ctx, "VERSION", nil)
	if err != nil {
		return "", fmt.Errorf("version of clamd: %w", err)
	}
	return strings.ToValidUTF8(string(b), "?"), nil
}

// Scan lets clamd look at what r gives. An error says that it did not.
func (c *Client) Scan(ctx context.Context, r io.Reader) (Result, error) {
	b, err := c.ask(ctx, "INSTREAM", r)
	if err != nil {
		return Result{}, fmt.Errorf("ask clamd: %w", err)
	}
	return parse(b)
}

// File is Scan for a file of this machine; what is no regular file is an error.
func (c *Client) File(ctx context.Context, path string) (Result, error) {
	st, err := os.Lstat(path)
	if err != nil {
		return Result{}, err
	}
	if !st.Mode().IsRegular() {
		return Result{}, &fs.PathError{Op: "scan", Path: path, Err: fs.ErrInvalid}
	}
	f, err := os.Open(path)
	if err != nil {
		return Result{}, err
	}
	defer f.Close()
	return c.Scan(ctx, f)
}

// ask sends a command with its stream and returns the answer.
func (c *Client) ask(ctx context.Context, command string, stream io.Reader) ([]byte, error) {
	d := net.Dialer{Timeout: dialTime}
	conn, err := d.DialContext(ctx, c.network, c.address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // a connection that is closed already does not mind
	defer stop()
	sent := c.send(ctx, conn, command, stream)
	var broken *sourceError
	if errors.As(sent, &broken) { // the file, not clamd
		return nil, broken.err
	}
	deadline(ctx, conn, replyTime)
	reply, err := io.ReadAll(io.LimitReader(conn, maxReply))
	reply = bytes.TrimRight(reply, "\x00\r\n")
	if len(reply) > 0 && ctx.Err() == nil { // it may answer, and hang up, before everything was sent
		return reply, nil
	}
	return nil, errors.Join(ctx.Err(), sent, err, ErrReply)
}

// deadline gives the other side time, unless ctx has ended.
func deadline(ctx context.Context, conn net.Conn, d time.Duration) {
	if ctx.Err() == nil {
		_ = conn.SetDeadline(time.Now().Add(d)) // a broken connection says so when it is used
	}
}

// sourceError is one of the file that is being sent.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

func (c *Client) send(ctx context.Context, conn net.Conn, command string, stream io.Reader) error {
	deadline(ctx, conn, sendTime)
	if _, err := conn.Write([]byte("z" + command + "\x00")); err != nil || stream == nil {
		return err
	}
	buf := make([]byte, 4+chunk)
	for {
		n, err := io.ReadFull(stream, buf[4:])
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return &sourceError{err}
		}
		if n > 0 {
			binary.BigEndian.PutUint32(buf, uint32(n))
			deadline(ctx, conn, sendTime)
			if _, err := conn.Write(buf[:4+n]); err != nil {
				return err
			}
		}
		if err != nil {
			_, err := conn.Write(make([]byte, 4)) // a chunk of no length is the end
			return err
		}
	}
}

// parse reads the answer to INSTREAM.
func parse(reply []byte) (Result, error) {
	text := strings.TrimSpace(strings.ToValidUTF8(string(reply), "?"))
	what, ours := strings.CutPrefix(text, "stream: ")
	signature, found := strings.CutSuffix(what, " FOUND")
	switch {
	case ours && what == "OK":
		return Result{Verdict: Clean}, nil
	case ours && found && signature != "":
		return Result{Verdict: Infected, Signature: signature}, nil
	case strings.HasPrefix(text, "INSTREAM size limit exceeded"):
		return Result{Verdict: TooLarge}, nil
	case strings.HasSuffix(text, "ERROR"):
		return Result{Verdict: Failed, Detail: text}, nil
	}
	return Result{}, fmt.Errorf("%w: %.100q", ErrReply, text)
}
