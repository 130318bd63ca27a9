package guard

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"image"
	"image/jpeg"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the tests start this program again as one that encrypts.
func TestMain(m *testing.M) {
	if how := os.Getenv("SONAE_TEST_ENCRYPT"); how != "" {
		encrypt(how)
		return
	}
	os.Exit(m.Run())
}

// encrypt does to the files below a folder what ransomware does. how is
// "SHAPE THREADS ORDER RATE FOLDER".
func encrypt(how string) {
	var shape, order, dir string
	var threads, rate int
	if _, err := fmt.Sscan(how, &shape, &threads, &order, &rate, &dir); err != nil {
		panic(err)
	}
	var files []string
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return nil
	})
	if order == "shuffled" {
		mrand.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	block, _ := aes.NewCipher(key)
	next := make(chan string)
	var all sync.WaitGroup
	for range threads {
		all.Go(func() {
			for path := range next {
				encryptOne(shape, path, cipher.NewCTR(block, make([]byte, 16)))
			}
		})
	}
	for _, f := range files {
		next <- f
		if rate > 0 {
			time.Sleep(time.Second / time.Duration(rate))
		}
	}
	close(next)
	all.Wait()
}

func encryptOne(shape, path string, s cipher.Stream) {
	b, err := os.ReadFile(path)
	if err != nil {
		return
	}
	switch shape {
	case "intermittent":
		for i := 0; i < len(b); i += 2 * 4096 {
			s.XORKeyStream(b[i:min(i+4096, len(b))], b[i:min(i+4096, len(b))])
		}
	case "kept": // the first block stays as it is
		s.XORKeyStream(b[4096:], b[4096:])
	case "repack":
		repack(path, b)
		return
	default:
		s.XORKeyStream(b, b)
	}
	switch shape {
	case "copy":
		if os.WriteFile(path+".locked", b, 0o600) == nil {
			_ = os.Remove(path)
		}
	case "replace":
		if os.WriteFile(path+".tmp", b, 0o600) == nil {
			_ = os.Rename(path+".tmp", path)
		}
	default:
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return
		}
		from := 0
		if shape == "kept" {
			from = 4096
		}
		_, _ = f.WriteAt(b[from:], int64(from))
		_ = f.Close()
		if shape == "renamed" {
			_ = os.Rename(path, path+".locked")
		}
	}
}

// repack writes another picture over the old one without touching its header,
// in two halves, as a program may that saves in place.
func repack(path string, old []byte) {
	if filepath.Ext(path) != ".jpg" {
		return
	}
	other, from := picture(2), scanAt(old)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	half := len(other) / 2
	_, _ = f.WriteAt(other[from:half], int64(from))
	_, _ = f.WriteAt(other[half:], int64(half))
}

// pictureSize is the size of every picture in bytes.
const pictureSize = 48 << 10

// picture is a real JPEG of grain; what follows its end fills it up.
func picture(seed uint64) []byte {
	r := mrand.New(mrand.NewPCG(seed, 7))
	m := image.NewGray(image.Rect(0, 0, 200, 200))
	for i := range m.Pix {
		m.Pix[i] = byte(r.Uint32())
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, m, nil); err != nil || out.Len() > pictureSize {
		panic(fmt.Sprint(out.Len(), err))
	}
	return append(out.Bytes(), make([]byte, pictureSize-out.Len())...)
}

// scanAt is where the packed part of a picture begins.
func scanAt(b []byte) int { return bytes.Index(b, []byte("\xff\xda")) + 10 }

// lab is a private volume full of files.
type lab struct {
	t     testing.TB
	dir   string
	files map[string][]byte
}

// newLab mounts a volume with n files in 20 folders, texts and pictures.
func newLab(t testing.TB, n int) *lab {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("guarding needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("sonae-guard", dir, "tmpfs", 0, "size=512m"); err != nil {
		t.Skipf("no private volume: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	l, photo := &lab{t: t, dir: dir, files: map[string][]byte{}}, picture(1)
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprintf("d%02d", i%20))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		name, b := sampleFile(i, photo)
		path := filepath.Join(sub, name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		l.files[path] = b
	}
	return l
}

// sampleFile is a text of 32 KiB, or a picture.
func sampleFile(i int, photo []byte) (string, []byte) {
	if i%3 == 2 {
		return fmt.Sprintf("photo-%04d.jpg", i), photo
	}
	line := fmt.Sprintf("%05d;2026-04-01;internal medicine;follow-up in four weeks;\n", i)
	return fmt.Sprintf("letter-%04d.txt", i), []byte(strings.Repeat(line, 1+(32<<10)/len(line)))
}

// lost counts files that are not what they were.
func (l *lab) lost() int {
	n := 0
	for path, b := range l.files {
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, b) {
			n++
		}
	}
	return n
}

// guarded is a running guard.
type guardedLab struct {
	g      *Guard
	frozen chan Frozen
	thawed chan Thawed
	stop   func()
}

func (l *lab) guard(c Config) *guardedLab {
	l.t.Helper()
	r := &guardedLab{frozen: make(chan Frozen, 64), thawed: make(chan Thawed, 1024)}
	c.Watch = []string{l.dir}
	c.OnFreeze = func(f Frozen) { r.frozen <- f }
	c.OnThaw = func(f Thawed) { r.thawed <- f }
	var err error
	if r.g, err = New(c); err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	up, ended := make(chan Status, 1), make(chan error, 1)
	go func() { ended <- r.g.Run(ctx, func(s Status) { up <- s }) }()
	var once sync.Once
	r.stop = func() { once.Do(func() { cancel(); <-ended }) }
	select {
	case <-up:
	case err := <-ended:
		cancel()
		l.t.Skipf("the kernel does not let the guard work: %v", err)
	}
	l.t.Cleanup(r.stop)
	return r
}

// attacker starts encrypting; the process is killed when the test ends.
func (l *lab) attacker(shape string, threads int, order string, rate int) *exec.Cmd {
	l.t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "SONAE_TEST_ENCRYPT="+strings.Join([]string{shape, strconv.Itoa(threads), order, strconv.Itoa(rate), l.dir}, " "))
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}
