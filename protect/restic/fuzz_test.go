package restic

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/crypto/poly1305" //lint:ignore SA1019 as in crypto.go
)

// sealed makes IV ‖ ciphertext ‖ MAC, as somebody who has the key can.
func sealed(k *Key, text []byte) []byte {
	box := make([]byte, ivSize, len(text)+Overhead)
	copy(box, "an IV of 16 byte")
	box = append(box, text...)
	cipher.NewCTR(k.encrypt, box[:ivSize]).XORKeyStream(box[ivSize:], box[ivSize:])
	var once [32]byte
	copy(once[:], k.r[:])
	k.nonce.Encrypt(once[16:], box[:ivSize])
	var mac [macSize]byte
	poly1305.Sum(&mac, box[ivSize:], &once)
	return append(box, mac[:]...)
}

func testKey(t testing.TB) *Key {
	t.Helper()
	k, err := newKey([]byte(strings.Repeat("e", 32)), []byte(strings.Repeat("k", 16)), []byte(strings.Repeat("r", 16)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func squeeze(t testing.TB, b []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(b, nil)
}

const (
	anID      = "\"73d04e6125cf3c28a299cc2f3cca3b78ceac396e4fcf9575e34536b26782413c\""
	anIndex   = `{"supersedes":[` + anID + `],"packs":[{"id":` + anID + `,"blobs":[{"id":` + anID + `,"type":"data","offset":0,"length":38},{"id":` + anID + `,"type":"tree","offset":38,"length":112,"uncompressed_length":511}]}]}`
	aSnapshot = `{"time":"2015-01-02T18:10:50.895208559+01:00","tree":` + anID + `,"paths":["/x"],"hostname":"h","username":"u","tags":["a"]}`
	aLock     = `{"time":"2015-06-27T12:18:51.759239612+02:00","exclusive":false,"hostname":"h","pid":1}`
	aConfig   = `{"version":2,"id":` + anID + `,"chunker_polynomial":"25b468838dcb75"}`
	aTree     = `{"nodes":[{"name":"a\\xff","type":"file","mode":420,"size":3,"links":1,"content":[` + anID + `]},{"name":"d","type":"dir","content":null,"subtree":` + anID + `},{"name":"l","type":"symlink","linktarget":"x","linktarget_raw":"/w=="}]}`
	aKeyFile  = `{"hostname":"k","username":"f","kdf":"scrypt","N":65536,"r":8,"p":1,"created":"2015-01-02T18:10:13.48307196+01:00","data":"` + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" + `","salt":"uW4fEI1+IOzj7ED9mVor+yTSJFd68DGlGOeLgJELYsTU5ikhG/83/+jGd4KKAaQdSrsfzrdOhAMftTSih5Ux6w=="}`
)

// FuzzDocument is everything that is stored unpacked, by somebody who has the
// key, in each encoding; and by somebody who has not.
func FuzzDocument(f *testing.F) {
	for _, s := range []string{anIndex, aSnapshot, aLock, aConfig, "", "{", "[]", `{"packs":null}`} {
		f.Add([]byte(s))
		f.Add(append([]byte{2}, squeeze(f, []byte(s))...))
	}
	k := testKey(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, raw := range [][]byte{text, sealed(k, text), sealed(k, append([]byte{2}, squeeze(t, text)...))} {
			before := bytes.Clone(raw)
			if s, err := k.Snapshot(raw); err == nil && (s.Tree == nil || s.Time.IsZero()) {
				t.Errorf("snapshot %+v", s)
			}
			if l, err := k.Lock(raw); err == nil && l.Time.IsZero() {
				t.Errorf("lock %+v", l)
			}
			if c, err := k.Config(raw); err == nil && c.Version != 1 && c.Version != 2 {
				t.Errorf("config %+v", c)
			}
			if !bytes.Equal(raw, before) {
				t.Error("the bytes were changed")
			}
			_, _ = k.Index(raw, func(p PackBlobs) error {
				for _, b := range p.Blobs {
					if b.Length < Overhead || b.Length > maxBlob || b.Plain > maxBlob {
						t.Errorf("blob %+v", b)
					}
				}
				return nil
			})
		}
	})
}

// FuzzPack is a pack whose header is by somebody who has the key.
func FuzzPack(f *testing.F) {
	id := Sum(nil)
	entry := func(kind byte, length, plain uint32) []byte {
		b := binary.LittleEndian.AppendUint32([]byte{kind}, length)
		if kind >= 2 {
			b = binary.LittleEndian.AppendUint32(b, plain)
		}
		return append(b, id[:]...)
	}
	f.Add(entry(0, 40, 0), 40, uint32(0))
	f.Add(append(entry(2, 40, 90), entry(3, 50, 1<<30)...), 90, uint32(1<<31))
	f.Add([]byte{4}, 0, uint32(3))
	k := testKey(f)
	f.Fuzz(func(t *testing.T, header []byte, blobs int, wrong uint32) {
		if blobs < 0 || blobs > 1<<20 {
			return
		}
		box := sealed(k, header)
		pack := binary.LittleEndian.AppendUint32(append(make([]byte, blobs), box...), uint32(len(box)))
		got, at, err := k.Header(bytes.NewReader(pack), int64(len(pack)))
		end := int64(0)
		for _, b := range got {
			if int64(b.Offset) != end || b.Length < Overhead || b.Plain > maxBlob {
				t.Errorf("blob %+v begins not at %d", b, end)
			}
			end += int64(b.Length)
		}
		if err == nil && (end != at || at != int64(blobs)) {
			t.Errorf("the blobs end at %d, the header begins at %d", end, at)
		}
		binary.LittleEndian.PutUint32(pack[len(pack)-4:], wrong)
		_, _, _ = k.Header(bytes.NewReader(pack), int64(len(pack)))
		_, _, _ = k.Header(bytes.NewReader(header), int64(len(header)))
	})
}

// FuzzBlob is a blob by somebody who has the key: never more than was said
// comes out.
func FuzzBlob(f *testing.F) {
	f.Add([]byte("plain"), uint32(0))
	f.Add(squeeze(f, make([]byte, 1<<20)), uint32(1<<20))
	f.Add(squeeze(f, make([]byte, 1<<20)), uint32(10))
	k := testKey(f)
	f.Fuzz(func(t *testing.T, text []byte, plain uint32) {
		if plain %= 1 << 22; plain > 0 {
			if b, err := k.expand(text, plain, nil); err == nil && len(b) != int(plain) {
				t.Errorf("%d bytes instead of %d", len(b), plain)
			}
		}
		b, err := k.blob(sealed(k, text), Blob{ID: Sum(text)}, nil)
		if err != nil || !bytes.Equal(b, text) {
			t.Errorf("%q became %q: %v", text, b, err)
		}
	})
}

func FuzzTree(f *testing.F) {
	for _, s := range []string{aTree, `{"nodes":null}`, `{"nodes":[{"name":".."}]}`, "{}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		_ = parseTree(raw, func(n *Node) error {
			if n.Name == "" || n.Name == ".." || strings.Contains(n.Name, "/") || (n.Type == "dir") != (n.Subtree != nil) {
				t.Errorf("node %+v", n)
			}
			return nil
		})
	})
}

func FuzzKeyFile(f *testing.F) {
	f.Add([]byte(aKeyFile))
	f.Add([]byte(strings.Replace(aKeyFile, "65536", "1073741824", 1)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		k, err := ParseKeyFile(raw)
		if err == nil && 128*k.N*k.R > maxScryptMemory {
			t.Errorf("N = %d, r = %d are let through", k.N, k.R)
		}
	})
}

func TestKeyFilesThatAskForTooMuchAreRefused(t *testing.T) {
	for name, change := range map[string][2]string{
		"memory":        {`"N":65536`, `"N":1073741824`},
		"work":          {`"p":1`, `"p":100000`},
		"overflow":      {`"r":8`, `"r":9223372036854775807`},
		"no power of 2": {`"N":65536`, `"N":65535`},
		"nothing":       {`"N":65536`, `"N":0`},
		"other kdf":     {`scrypt`, `argon2`},
		"short salt":    {`uW4fEI1+IOzj7ED9mVor+yTSJFd68DGlGOeLgJELYsTU5ikhG/83/+jGd4KKAaQdSrsfzrdOhAMftTSih5Ux6w==`, `AAAA`},
	} {
		raw := strings.Replace(aKeyFile, change[0], change[1], 1)
		if _, err := ParseKeyFile([]byte(raw)); err == nil || raw == aKeyFile {
			t.Errorf("%s: let through", name)
		}
	}
	if _, err := ParseKeyFile([]byte(aKeyFile)); err != nil {
		t.Errorf("the sound one: %v", err)
	}
}

// A bomb of zstd ends where the bounds are, not where the memory does.
func TestBombsAreRefused(t *testing.T) {
	k := testKey(t)
	bomb := squeeze(t, bytes.Repeat([]byte(" "), 64<<20))
	if _, err := k.Snapshot(sealed(k, append([]byte{2}, bomb...))); err == nil {
		t.Error("a snapshot of 64 MiB of blanks is let through")
	}
	if _, err := k.expand(bomb, 1000, nil); err == nil {
		t.Error("a blob of 64 MiB instead of 1,000 bytes is let through")
	}
}
