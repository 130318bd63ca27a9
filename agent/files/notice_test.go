package files

import (
	"encoding/binary"
	"testing"
	"time"
)

// raw builds a notice as the kernel writes it.
func raw(mask uint64, pid int32, handle, name string) []byte {
	info := []byte{infoDirName, 0, 0, 0}
	info = append(info, "FSIDFSID"...)
	info = binary.NativeEndian.AppendUint32(info, uint32(len(handle)))
	info = binary.NativeEndian.AppendUint32(info, 1)
	info = append(append(append(info, handle...), name...), 0)
	for len(info)%4 != 0 {
		info = append(info, 0)
	}
	binary.NativeEndian.PutUint16(info[2:], uint16(len(info)))
	b := binary.NativeEndian.AppendUint32(nil, uint32(noticeHead+len(info)))
	b = append(b, noticeVerson, 0)
	b = binary.NativeEndian.AppendUint16(b, noticeHead)
	b = binary.NativeEndian.AppendUint64(b, mask)
	b = binary.NativeEndian.AppendUint32(b, ^uint32(0))
	b = binary.NativeEndian.AppendUint32(b, uint32(pid))
	return append(b, info...)
}

func TestNotices(t *testing.T) {
	b := append(raw(8, 42, "handle-1", "karte.txt"), raw(2, 7, "h2", "x")...)
	var got []string
	if err := notices(b, func(n notice) { got = append(got, string(n.name)) }); err != nil || len(got) != 2 || got[0] != "karte.txt" || got[1] != "x" {
		t.Errorf("got %q, %v", got, err)
	}
	file := raw(8, 42, "handle-2", "")
	file[noticeHead] = infoFile
	if err := notices(file, func(n notice) { got = append(got, string(n.file[16:])) }); err != nil || got[len(got)-1] != "handle-2" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := notices(b[:len(b)-1], func(notice) {}); err == nil {
		t.Error("a notice that is cut was taken")
	}
}

func FuzzNotices(f *testing.F) {
	f.Add(raw(8, 42, "handle-1", "karte.txt"))
	f.Add(raw(8, 42, "", ""))
	file := raw(8, 42, "handle-2", "")
	file[noticeHead] = infoFile
	f.Add(file)
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = notices(b, func(n notice) {
			if len(n.dir)+len(n.name)+len(n.file) > len(b) {
				t.Error("more than there is")
			}
		})
	})
}

func TestHoursOfDuty(t *testing.T) {
	jst := time.FixedZone("JST", 9*3600)
	at := func(day, hour, minute int) time.Time { return time.Date(2026, 11, day, hour, minute, 0, 0, jst) } // the 22nd is a Sunday
	for _, c := range []struct {
		lines []string
		at    time.Time
		on    bool
	}{
		{nil, at(22, 3, 0), true},
		{[]string{"mon-fri 07:00-20:00"}, at(23, 7, 0), true},
		{[]string{"mon-fri 07:00-20:00"}, at(23, 20, 0), false},
		{[]string{"mon-fri 07:00-20:00"}, at(22, 12, 0), false},
		{[]string{"mon-fri 07:00-20:00", "sat,sun 08:00-12:00"}, at(22, 11, 59), true},
		{[]string{"fri-mon 08:00-12:00"}, at(22, 9, 0), true},
		{[]string{"fri-mon 08:00-12:00"}, at(24, 9, 0), false},
		{[]string{"daily 22:00-06:00"}, at(22, 5, 59), true},
		{[]string{"daily 22:00-06:00"}, at(22, 6, 0), false},
		{[]string{"sat 22:00-06:00"}, at(22, 3, 0), true}, // began on Saturday
		{[]string{"sun 22:00-06:00"}, at(22, 3, 0), false},
		{[]string{"daily 00:00-24:00"}, at(22, 23, 59), true},
	} {
		h, err := ParseHours(c.lines)
		if err != nil || h.On(c.at) != c.on {
			t.Errorf("%v at %v: %v, %v", c.lines, c.at, h.On(c.at), err)
		}
	}
	for _, bad := range []string{"", "mon", "mon 7", "mon 07:00", "moon 07:00-08:00", "mon-x 07:00-08:00", "mon 25:00-26:00"} {
		if _, err := ParseHours([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzParseHours(f *testing.F) {
	f.Add("mon-fri 07:00-20:00")
	f.Add("sat,sun 22:00-06:00")
	f.Fuzz(func(t *testing.T, line string) {
		if h, err := ParseHours([]string{line}); err == nil {
			h.On(time.Unix(0, 0).UTC())
		}
	})
}
