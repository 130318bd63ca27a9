package repository

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
)

// limits bounds each kind of file, in bytes.
var limits = map[restic.Kind]int64{
	restic.ConfigFile: 64 << 10,
	restic.Keys:       64 << 10,
	restic.Locks:      64 << 10,
	restic.Snapshots:  16 << 20,
	restic.Index:      128 << 20,
	restic.Data:       512 << 20, // restic makes packs of up to 128 MiB, and larger ones for one large tree
}

// maxKeys bounds the keys of a repository: each one costs a client a second.
const maxKeys = 16

// Put takes a file of size bytes (-1: not said) that who sends. It is durable
// and can be seen when Put returns without error; after an error it is not
// there. The same bytes again are no error. Refusals are told to
// Config.Refused:
//
//	fault.Invalid  "protect.name"      it is not named after its SHA-256, or is too large
//	fault.Invalid  "protect.junk"      the MAC does not fit, or it makes no sense
//	fault.Denied   "protect.snapshot"  a host that cannot be
//	fault.Denied   "protect.snapshot-time"  a time that cannot be, with a Skewed
//	fault.Denied   "protect.key"       a key that the hub cannot open, or of another repository
//	fault.Conflict "protect.exists"    config is there already, with other bytes
//	fault.Conflict "protect.no-key"    there is no config yet, or no key that the hub can open
//	fault.Denied   "protect.cut"       people or an alarm cut the path to it
//	fault.Denied   "protect.gone"      a snapshot that people let go
//	fault.Busy     "protect.working"   what it builds on was pruned while it came
//	fault.Busy     "protect.quota"     the agent has no room left
//	fault.Busy     "protect.full"      the disk has no room left, or only what others need
func (r *Repository) Put(ctx context.Context, who string, kind restic.Kind, name string, size int64, body io.Reader) error {
	if kind == restic.ConfigFile {
		name = "" // it has none of its own
	}
	err := r.put(ctx, who, kind, name, size, body)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		err = fault.New(fault.Busy, "protect.full").With(err)
	}
	if err != nil && fault.Of(err) != "" {
		r.refused(who, kind, name, err)
	}
	r.tellBack(who, kind, name)
	return err
}

// tellBack tells, once, that the hub's clock was set back: until it has caught up
// with the log, times of receipt are later than they should be.
func (r *Repository) tellBack(who string, kind restic.Kind, name string) {
	r.mu.Lock()
	last, back := r.journal.last, r.journal.back
	fresh := back > r.s.c.Skew && !r.toldBack
	r.toldBack = back > r.s.c.Skew
	r.mu.Unlock()
	if fresh {
		r.refused(who, kind, name, fault.New("", "protect.clock-back").With(SetBack{last, back}))
	}
}

// SetBack says that the hub's clock was set back after files had come.
type SetBack struct {
	Last time.Time // of the log
	By   time.Duration
}

// Error says by how much.
func (s SetBack) Error() string {
	return fmt.Sprintf("let in; the hub's clock is %s behind the last file that was received, on %s", s.By.Round(time.Second), s.Last.Format(time.RFC3339))
}

func (r *Repository) refused(who string, kind restic.Kind, name string, err error) {
	r.s.log.Warn("file refused", "agent", r.agent, "who", who, "kind", string(kind), "name", name, "err", err)
	r.s.c.Refused(Refusal{r.s.c.Now().UTC(), r.agent, who, kind, name, err})
}

func (r *Repository) put(ctx context.Context, who string, kind restic.Kind, name string, size int64, body io.Reader) error {
	limit, ok := limits[kind]
	if !ok || size > limit {
		return fault.New(fault.Invalid, "protect.name").With(fmt.Errorf("%d bytes of kind %.20q, of which %d are taken", size, kind, limit))
	}
	if _, err := restic.ParseID(name); err != nil && kind != restic.ConfigFile {
		return fault.New(fault.Invalid, "protect.name").With(err)
	}
	if err := r.taken(); err != nil {
		return err
	}
	if err := r.begun(kind); err != nil {
		return err
	}
	prunes, err := r.mayCome(kind, name)
	if err != nil {
		return err
	}
	if kind == restic.Locks {
		return r.putLock(ctx, who, name, body)
	}
	if size >= 0 {
		limit = size
	}
	done, err := r.reserve(limit)
	if err != nil {
		return err
	}
	defer done()
	part, sum, got, err := r.write(ctx, body, limit)
	if err != nil {
		return err
	}
	defer os.Remove(part)
	if size >= 0 && got != size {
		return fmt.Errorf("%d bytes came instead of %d: %w", got, size, io.ErrUnexpectedEOF)
	}
	if kind != restic.ConfigFile && sum != name {
		return fault.New(fault.Invalid, "protect.name").With(errors.New("it is not named after its SHA-256"))
	}
	if same, err := r.there(kind, name, sum); same || err != nil {
		return err
	}
	if err := r.check(ctx, who, kind, name, part, got); err != nil {
		return err
	}
	return r.publish(kind, name, sum, part, got, prunes)
}

// taken says whether anything is taken now.
func (r *Repository) taken() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cut()
}

func (r *Repository) cut() error {
	if r.known.Cut {
		return fault.New(fault.Denied, "protect.cut")
	}
	return nil
}

// begun refuses everything but keys before there is a config: until then the
// key may still be another one.
func (r *Repository) begun(kind restic.Kind) error {
	if kind == restic.Keys || kind == restic.ConfigFile {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.received[fileKey{restic.ConfigFile, ""}]; !ok {
		return fault.New(fault.Conflict, "protect.no-key")
	}
	return nil
}

// reserve sets n bytes aside until the upload is over.
func (r *Repository) reserve(n int64) (done func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, fault.New(fault.Busy, "protect.closed")
	}
	if quota := r.known.Quota; quota > 0 && r.used+r.coming+n > quota {
		return nil, fault.New(fault.Busy, "protect.quota").With(fmt.Errorf("%d of %d bytes are used, %d are coming, %d more are too many", r.used, quota, r.coming, n))
	}
	if err := r.s.reserve(n); err != nil {
		return nil, err
	}
	r.coming += n
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.coming -= n
		r.s.coming.Add(-n)
	}, nil
}

// reserve sets n bytes of the disk aside: fault.Busy "protect.full" where less than
// Config.MinFree would be left. What has come of an open upload counts twice, on
// the disk and as coming: rather too early than too late.
func (s *Service) reserve(n int64) error {
	coming := s.coming.Add(n)
	free, err := s.free()
	if err == nil && s.c.MinFree > 0 && free-coming < s.c.MinFree {
		err = fault.New(fault.Busy, "protect.full").With(fmt.Errorf("%d bytes are free, %d are coming, %d are to be left", free, coming, s.c.MinFree))
	}
	if err != nil {
		s.coming.Add(-n)
	}
	return err
}

// mayRewrite says whether a pruning may write n bytes more. It frees room only
// afterwards, so that half of what uploads leave is for it; the rest is for the hub.
func (s *Service) mayRewrite(n int64) error {
	least := s.c.MinFree / 2
	free, err := s.free()
	if err == nil && least > 0 && free-n < least {
		err = fmt.Errorf("the disk has too little room: %d bytes are free, %d are written anew, %d are to be left", free, n, least)
	}
	return err
}

// free is how many bytes the disk has left for the hub.
func (s *Service) free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.c.Dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", s.c.Dir, err)
	}
	return int64(min(st.Bavail, math.MaxInt64/uint64(st.Bsize)) * uint64(st.Bsize)), nil
}

// write stores a body of at most limit bytes beside, synced.
func (r *Repository) write(ctx context.Context, body io.Reader, limit int64) (path, sum string, n int64, err error) {
	file, err := os.CreateTemp(filepath.Join(r.dir, incomingDir), "part-*")
	if err != nil {
		return "", "", 0, err
	}
	hash := sha256.New()
	out := bufio.NewWriterSize(file, pieceSize)
	n, err = io.Copy(io.MultiWriter(out, hash), io.LimitReader(stoppable{ctx, cuttable{r, body}}, limit+1))
	err = errors.Join(err, out.Flush())
	if err == nil && n > limit {
		err = fault.New(fault.Invalid, "protect.name").With(fmt.Errorf("more than %d bytes", limit))
	}
	if err == nil {
		err = errors.Join(file.Chmod(0o400), file.Sync())
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return "", "", 0, errors.Join(err, os.Remove(file.Name()))
	}
	return file.Name(), hex.EncodeToString(hash.Sum(nil)), n, nil
}

// pieceSize is how much is written at once, in bytes; TLS gives 16 KiB at a time.
const pieceSize = 256 << 10

// stoppable ends a read when ctx is done.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

func (s stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// cuttable ends an upload that is on its way when the path is cut: its sender is
// told at once, and what came of it is dropped.
type cuttable struct {
	r    *Repository
	body io.Reader
}

func (c cuttable) Read(p []byte) (int, error) {
	if err := c.r.taken(); err != nil {
		return 0, err
	}
	return c.body.Read(p)
}

// there says whether the same file was received already: a client that was
// not answered sends it again. Another config is refused.
func (r *Repository) there(kind restic.Kind, name, sum string) (bool, error) {
	r.mu.Lock()
	_, ok := r.received[fileKey{kind, name}]
	r.mu.Unlock()
	if !ok || kind != restic.ConfigFile {
		return ok, nil
	}
	raw, err := os.ReadFile(r.path(kind, name))
	if err != nil {
		return false, err
	}
	if have := sha256.Sum256(raw); hex.EncodeToString(have[:]) != sum {
		return false, fault.New(fault.Conflict, "protect.exists")
	}
	return true, nil
}

func (r *Repository) path(kind restic.Kind, name string) string {
	return filepath.Join(r.dir, filesDir, filepath.FromSlash(kind.Path(name)))
}

// publish gives a checked file its name and writes it into the log; prunes is how
// many prunings there were when it was checked.
func (r *Repository) publish(kind restic.Kind, name, sum, part string, size int64, prunes int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fault.New(fault.Busy, "protect.closed")
	}
	if err := r.cut(); err != nil { // while it came
		return err
	}
	if prunes != len(r.prunes) { // what the check found may be gone
		return fault.New(fault.Busy, "protect.working")
	}
	if _, ok := r.received[fileKey{kind, name}]; ok { // another one was quicker
		if kind == restic.ConfigFile {
			return fault.New(fault.Conflict, "protect.exists")
		}
		return nil
	}
	to := r.path(kind, name)
	if err := r.makeParent(to); err != nil {
		return err
	}
	if kind == restic.Keys {
		if err := r.moveOrphans(); err != nil {
			return err
		}
	}
	if err := os.Link(part, to); err != nil { // never replaces
		return fmt.Errorf("store %s: %w", kind.Path(name), err)
	}
	l := line{At: r.s.c.Now().UTC(), Kind: kind, Name: name, Size: size}
	if kind == restic.ConfigFile {
		l.Sum = sum
	}
	err := syncDir(filepath.Dir(to))
	if err == nil {
		l, err = r.journal.append(l)
	}
	if err != nil { // it was never seen
		return errors.Join(fmt.Errorf("store %s: %w", kind.Path(name), err), os.Remove(to))
	}
	r.note(l)
	if r.s.c.Stored != nil {
		r.s.c.Stored(Receipt{r.agent, kind, name, l.At, size})
	}
	return nil
}

// makeParent makes the folder of a pack, durably.
func (r *Repository) makeParent(path string) error {
	dir := filepath.Dir(path)
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// moveOrphans sets aside keys of an initialisation that ended before its
// config came: clients would try them first and then find that the config is
// not theirs. Without a config there is no repository yet, so nothing is lost.
func (r *Repository) moveOrphans() error {
	if _, ok := r.received[fileKey{restic.ConfigFile, ""}]; ok {
		return nil
	}
	for k, rec := range r.received {
		if k.kind != restic.Keys {
			continue
		}
		err := os.Rename(r.path(k.kind, k.name), filepath.Join(r.dir, orphanDir, k.name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("set key %s aside: %w", k.name, err)
		}
		delete(r.received, k)
		r.used -= rec.size
	}
	r.key = nil
	return nil
}
