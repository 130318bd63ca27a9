package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/jsonl"
)

// maxPeers bounds how many sensors may be connected to one socket.
const maxPeers = 8

// listen opens a socket for Suricata, and reads what it is sent until ctx ends.
func (f *Feed) listen(ctx context.Context, path string) error {
	name, dgram := strings.CutPrefix(path, "dgram:")
	if err := freeSocket(name); err != nil {
		return err
	}
	defer func() { _ = os.Remove(name) }() // gone already when a listener closed it
	if dgram {
		return f.datagrams(ctx, name)
	}
	l, err := net.Listen("unix", name)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	if err := os.Chmod(name, 0o660); err != nil {
		return errors.Join(err, l.Close())
	}
	var g errgroup.Group
	g.SetLimit(maxPeers)
	for {
		c, err := l.Accept()
		if err != nil {
			_ = g.Wait()
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if !g.TryGo(func() error { f.peer(ctx, c); return nil }) {
			f.cfg.Log.Warn("too many sensors are connected to a socket", "socket", name)
			_ = c.Close()
		}
	}
}

// freeSocket takes away a socket that an earlier run left; another file of that
// name stays.
func freeSocket(name string) error {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s is no socket", name)
	}
	return os.Remove(name)
}

// peer reads one connection.
func (f *Feed) peer(ctx context.Context, c net.Conn) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	f.count(func(s *Stats) { s.Peers++ })
	defer f.count(func(s *Stats) { s.Peers-- })
	room := f.budget(false)
	rep, err := jsonl.Read(ctx, c, source.Options{Now: f.cfg.Now()}, f.each(ctx, room))
	f.damaged(rep)
	if err != nil && ctx.Err() == nil {
		f.cfg.Log.Warn("a sensor's connection ended", "err", err)
	}
}

func (f *Feed) each(ctx context.Context, room *budget) func(*event.Record) error {
	return func(r *event.Record) error {
		if !f.record(ctx, r, room) {
			return errEnded
		}
		return nil
	}
}

// datagrams reads one record each.
func (f *Feed) datagrams(ctx context.Context, name string) error {
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := os.Chmod(name, 0o660); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })()
	room, buf := f.budget(false), make([]byte, 1<<20)
	for {
		n, err := c.Read(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		rep, err := jsonl.Read(ctx, bytes.NewReader(buf[:n]), source.Options{Now: f.cfg.Now()}, f.each(ctx, room))
		f.damaged(rep)
		if err != nil && ctx.Err() != nil {
			return nil
		}
	}
}
