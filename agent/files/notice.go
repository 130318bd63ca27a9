package files

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// notice is what the kernel says happened (fanotify(7)): to a name in a folder
// that is told by its handle, to a file that is told by its handle, or to an
// open file.
type notice struct {
	mask uint64
	pid  int32
	fd   int32  // of the file, or -1
	dir  []byte // fsid and handle of the folder; lies in the buffer
	name []byte // likewise
	file []byte // fsid and handle of the file; likewise
}

// Sizes and kinds of fanotify(7).
const (
	noticeHead   = 24
	noticeVerson = 3
	infoHead     = 4
	infoFile     = 1 // FAN_EVENT_INFO_TYPE_FID
	infoDirName  = 2 // FAN_EVENT_INFO_TYPE_DFID_NAME
	infoDir      = 3 // FAN_EVENT_INFO_TYPE_DFID
	handleAt     = infoHead + 8
	handleHead   = 8
)

var errNotice = errors.New("fanotify: a notice that cannot be read")

// notices reads what read(2) returned. What f gets is good until it returns.
func notices(b []byte, f func(notice)) error {
	for len(b) >= noticeHead {
		size := int(binary.NativeEndian.Uint32(b))
		head := int(binary.NativeEndian.Uint16(b[6:]))
		if size < noticeHead || size > len(b) || head < noticeHead || head > size || b[4] != noticeVerson {
			return errNotice
		}
		n := notice{mask: binary.NativeEndian.Uint64(b[8:]), fd: int32(binary.NativeEndian.Uint32(b[16:])), pid: int32(binary.NativeEndian.Uint32(b[20:]))}
		n.place(b[head:size])
		f(n)
		b = b[size:]
	}
	if len(b) > 0 {
		return errNotice
	}
	return nil
}

// place reads the folder and the name of a notice, or the file, as far as they
// are there.
func (n *notice) place(b []byte) {
	for len(b) >= infoHead {
		size := int(binary.NativeEndian.Uint16(b[2:]))
		if size < infoHead || size > len(b) {
			return
		}
		if (b[0] == infoDirName || b[0] == infoDir || b[0] == infoFile) && size >= handleAt+handleHead {
			length := int(binary.NativeEndian.Uint32(b[handleAt:]))
			end := handleAt + handleHead + length
			if length < 0 || length > 128 || end > size {
				return
			}
			if b[0] == infoFile {
				n.file = b[infoHead:end]
				return
			}
			n.dir = b[infoHead:end]
			if b[0] == infoDirName {
				n.name, _, _ = bytes.Cut(b[end:size], []byte{0})
			}
			return
		}
		b = b[size:]
	}
}
