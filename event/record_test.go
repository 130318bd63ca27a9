package event

import (
	"encoding/binary"
	"encoding/json"
	"testing"
	"unicode/utf16"
)

func TestTextOfJSONIsWhatEncodingJSONReads(t *testing.T) {
	for _, in := range []string{
		``, `plain`, `a\nb\t\r\b\f\/\\\"`, `\u3042\u0041`, `\ud83d\ude00!`, `\ud83d`, `\ud83d\u0041`, `\ude00x`, `日本語`,
		`C:\\Windows\\System32\\cmd.exe /c \"dir\"`,
	} {
		var want string
		if err := json.Unmarshal([]byte(`"`+in+`"`), &want); err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		p := Pair{Value: []byte(in), Enc: JSON}
		if got := p.Text(); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add([]byte(`a\u00`), []byte{0x3d, 0xd8})
	f.Fuzz(func(t *testing.T, j, u []byte) {
		var want string
		p := Pair{Value: j, Enc: JSON}
		got := p.Text()
		if err := json.Unmarshal([]byte(`"`+string(j)+`"`), &want); err == nil && string([]rune(got)) != want {
			t.Errorf("%q: got %q, want %q", j, got, want)
		}
		var units []uint16
		for i := 0; i+1 < len(u); i += 2 {
			units = append(units, binary.LittleEndian.Uint16(u[i:]))
		}
		p = Pair{Value: u, Enc: UTF16}
		if got, want := p.Text(), string(utf16.Decode(units)); got != want {
			t.Errorf("%x: got %q, want %q", u, got, want)
		}
	})
}

func TestRecordBecomesAnEvent(t *testing.T) {
	var r Record
	r.Add([]byte("Image"), []byte(`C:\\a.exe`), JSON)
	r.Add([]byte("answers"), []byte("1.1.1.1"), Plain)
	r.Add([]byte("answers"), []byte("2.2.2.2"), Plain)
	r.Categories = []string{"registry_set", "registry_event"}
	e := r.Event("x")
	if e.Fields["Image"] != `C:\a.exe` || e.Fields["answers"] != "1.1.1.1\n2.2.2.2" || e.Category != "registry_set" || e.ID != "x" {
		t.Errorf("got %+v", e)
	}
	if r.Reset(); len(r.Pairs) != 0 || cap(r.Pairs) == 0 || r.Categories != nil {
		t.Errorf("after Reset: %+v", r)
	}
}
