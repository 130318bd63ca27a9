package core

import (
	"slices"
	"strings"
	"testing"
)

func TestParseMaps(t *testing.T) {
	if _, err := parseMaps("00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/a b (deleted)\n7f00000000-7f00001000 rw-p 00000000 00:00 0 \n7ffc0000-7ffd0000 rw-s 00000000 00:00 0 [stack]\n"); err == nil {
		t.Fatal("mappings that overlap or are out of order were taken")
	}
	got, err := parseMaps("00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/a b (deleted)\n7ffc0000-7ffd0000 rw-s 00000000 00:00 0  [stack]\n7f00000000-7f00001000 rw-p 00000000 00:00 0 \n")
	if err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	want := mapping{start: 0x400000, end: 0x452000, offset: 0x1000, flags: flagR | flagX, path: "/usr/bin/a b (deleted)"}
	if got[0] != want || !got[1].shared || got[1].path != "[stack]" || got[2].path != "" || got[2].isFile() {
		t.Errorf("%+v", got)
	}
}

func TestOwnMemoryComesFirst(t *testing.T) {
	maps := []mapping{{start: 0, end: 1 << 20, path: "/data", shared: true}, {start: 2 << 20, end: 3 << 20, path: "/lib"}, {start: 4 << 20, end: 5 << 20}}
	touched := [][]run{{{0, 1 << 20}}, {{2 << 20, 3 << 20}}, {{4 << 20, 5 << 20}}}
	out, left := choose(maps, touched, 3<<19)
	if left != 3<<19 || len(out) != 2 || out[0].run != (run{2 << 20, 5 << 19}) || out[1].run != (run{4 << 20, 5 << 20}) {
		t.Errorf("%+v, %d left", out, left)
	}
	if got := merge([]run{{0, 1}, {3, 4}, {9, 10}}, 2); !slices.Equal(got, []run{{0, 4}, {9, 10}}) {
		t.Errorf("%v", got)
	}
}

func FuzzMaps(f *testing.F) {
	f.Add("00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/a\n", "77 (a) b) S 1 2 3 0 0 0 0 0 0 0 1 2 0 0 20 0 1 0 5")
	f.Add("a-b", "(")
	f.Fuzz(func(t *testing.T, text, stat string) {
		maps, err := parseMaps(text)
		if err == nil && len(maps) != strings.Count(strings.TrimSuffix(text, "\n")+"\n", "\n") && text != "" {
			t.Fatalf("%d mappings of %q", len(maps), text)
		}
		for i, m := range maps {
			if m.start >= m.end || i > 0 && m.start < maps[i-1].end {
				t.Fatalf("%+v", m)
			}
		}
		if p, err := parseStat(stat); err == nil {
			p.args = text
			if n := len(p.info()); n != 136 {
				t.Fatalf("%d bytes", n)
			}
		}
	})
}
