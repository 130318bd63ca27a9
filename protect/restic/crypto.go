package restic

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/crypto/poly1305" //lint:ignore SA1019 the format is Poly1305-AES, for which this is the part
)

// Overhead is what encryption adds to a plaintext, in bytes: IV ‖ … ‖ MAC.
const (
	ivSize   = aes.BlockSize
	macSize  = poly1305.TagSize
	Overhead = ivSize + macSize
)

// Bounds of what is read into memory at once, in bytes.
const (
	maxUnpacked = 128 << 20 // an index, snapshot or lock as it is stored
	maxDocument = 1 << 30   // the same after decompression; it is read as a stream
	maxBlob     = 256 << 20 // a blob, stored or decompressed; restic's data blobs end at 8 MiB, a tree has about 400 bytes per entry
)

// Key is a pair of keys for AES-256-CTR and Poly1305-AES. It is safe for
// concurrent use.
type Key struct {
	encrypt cipher.Block // AES-256
	nonce   cipher.Block // AES-128 of the MAC, "k"
	r       [16]byte
	zstd    *zstd.Decoder // for blobs: never more than was said
}

// newKey takes 32 bytes of AES-256, 16 of AES-128 and 16 of Poly1305.
func newKey(encrypt, k, r []byte) (*Key, error) {
	if len(encrypt) != 32 || len(k) != 16 || len(r) != 16 {
		return nil, fmt.Errorf("keys of %d, %d and %d bytes instead of 32, 16 and 16", len(encrypt), len(k), len(r))
	}
	e, err := aes.NewCipher(encrypt)
	if err != nil {
		return nil, err
	}
	n, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(maxBlob), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	return &Key{encrypt: e, nonce: n, r: [16]byte(r), zstd: z}, nil
}

// open checks the MAC of IV ‖ ciphertext ‖ MAC and decrypts in place: ErrMAC
// when it does not fit. The result lies within box.
func (k *Key) open(box []byte) ([]byte, error) {
	if len(box) < Overhead {
		return nil, fmt.Errorf("it has %d bytes, fewer than the %d of IV and MAC", len(box), Overhead)
	}
	iv, text, mac := box[:ivSize], box[ivSize:len(box)-macSize], box[len(box)-macSize:]
	var once [32]byte // r, which Poly1305 clamps, and the encrypted nonce
	copy(once[:16], k.r[:])
	k.nonce.Encrypt(once[16:], iv)
	if !poly1305.Verify((*[macSize]byte)(mac), text, &once) { // in constant time
		return nil, ErrMAC
	}
	cipher.NewCTR(k.encrypt, iv).XORKeyStream(text, text)
	return text, nil
}

// seal is the inverse of open: IV ‖ ciphertext ‖ MAC.
func (k *Key) seal(text []byte) ([]byte, error) {
	box := make([]byte, ivSize+len(text), ivSize+len(text)+macSize)
	if _, err := rand.Read(box[:ivSize]); err != nil {
		return nil, err
	}
	cipher.NewCTR(k.encrypt, box[:ivSize]).XORKeyStream(box[ivSize:], text)
	var once [32]byte
	copy(once[:16], k.r[:])
	k.nonce.Encrypt(once[16:], box[:ivSize])
	var mac [macSize]byte
	poly1305.Sum(&mac, box[ivSize:], &once)
	return append(box, mac[:]...), nil
}

// unpack opens an unpacked file and returns its JSON as a stream: the text
// itself, or format 2's byte 2 and zstd. raw is overwritten.
func (k *Key) unpack(raw []byte) (io.ReadCloser, error) {
	text, err := k.open(raw)
	if err != nil {
		return nil, err
	}
	if len(text) == 0 {
		return nil, errors.New("it is empty")
	}
	switch text[0] {
	case '{', '[':
		return io.NopCloser(bytes.NewReader(text)), nil
	case 2:
		z, err := zstd.NewReader(bytes.NewReader(text[1:]), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDocument), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return &bounded{z.IOReadCloser(), maxDocument}, nil
	}
	return nil, fmt.Errorf("unknown encoding %d of the text", text[0])
}

// maxWindow bounds how far back zstd may look, in bytes.
const maxWindow = 64 << 20

// bounded refuses to read more than left bytes.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("it has more than %d bytes after decompression", int64(maxDocument))
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// maxDocumentSmall bounds documents that are decoded as a whole, in bytes.
const maxDocumentSmall = 16 << 20

// document decodes a small unpacked file; raw is left as it is.
func (k *Key) document(raw []byte, into any) error {
	if len(raw) > maxDocumentSmall {
		return fmt.Errorf("it has %d bytes, more than the %d that are read", len(raw), maxDocumentSmall)
	}
	r, err := k.unpack(bytes.Clone(raw))
	if err != nil {
		return err
	}
	defer r.Close()
	return decodeAll(io.LimitReader(r, maxDocumentSmall), into)
}

// decodeAll decodes one JSON value after which nothing follows.
func decodeAll(r io.Reader, into any) error {
	d := json.NewDecoder(r)
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("its JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("its JSON: something follows the document")
	}
	return nil
}

// blob decrypts, decompresses and checks one blob. box is overwritten; the
// result lies in it or in dst, which grows.
func (k *Key) blob(box []byte, b Blob, dst []byte) ([]byte, error) {
	text, err := k.open(box)
	if err != nil {
		return nil, err
	}
	if b.Plain > 0 {
		if text, err = k.expand(text, b.Plain, dst); err != nil {
			return nil, err
		}
	}
	if Sum(text) != b.ID {
		return nil, errContent
	}
	return text, nil
}

var (
	errContent    = errors.New("its content is not what its id says")
	errCompressed = errors.New("its compressed content")
)

// expand decompresses exactly size bytes into dst.
func (k *Key) expand(text []byte, size uint32, dst []byte) ([]byte, error) {
	if size > maxBlob {
		return nil, fmt.Errorf("%w: it has %d bytes, more than the %d that are read", errCompressed, size, maxBlob)
	}
	if cap(dst) < int(size) {
		dst = make([]byte, 0, size)
	}
	out, err := k.zstd.DecodeAll(text, dst[:0:size]) // the limit is the capacity
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCompressed, err)
	}
	if len(out) != int(size) {
		return nil, fmt.Errorf("%w: it has %d bytes instead of %d", errCompressed, len(out), size)
	}
	return out, nil
}
