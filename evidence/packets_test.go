package evidence

import (
	"bytes"
	"testing"

	"github.com/sonae/sonae/fault"
)

// TestPacketsLeaveWithALineInTheCustodyRecord: the pcapng comes out as it went
// in, not before the bag is sealed, and never unsaid.
func TestPacketsLeaveWithALineInTheCustodyRecord(t *testing.T) {
	r := newRig(t, nil)
	r.must(r.OpenBag(t.Context(), preserve))
	packets := bytes.Repeat([]byte("\x0a\x0d\x0d\x0apackets"), 1000)
	r.must(r.send(item(PacketFile), packets))
	var out bytes.Buffer
	wantFault(t, r.Packets(t.Context(), "bag-1", &out, "調査", police), fault.Conflict, "evidence.not-sealed")
	r.must(r.Seal(t.Context(), "bag-1", false))
	wantFault(t, r.Packets(t.Context(), "bag-1", &out, " ", police), fault.Invalid, "evidence.purpose")
	if out.Len() != 0 {
		t.Fatal("packets left although they must not")
	}
	r.must(r.Packets(t.Context(), "bag-1", &out, "調査", police))
	if !bytes.Equal(out.Bytes(), packets) {
		t.Error("other packets came out than went in")
	}
	b, err := r.Get(t.Context(), "bag-1")
	r.must(err)
	if !b.HasPackets() {
		t.Error("the bag does not know its packets")
	}
	lines, err := r.Custody(t.Context(), "bag-1")
	r.must(err)
	last := lines[len(lines)-1]
	if last.What != "exported" || last.By != police.ID || last.Purpose != "調査" || last.Item != PacketFile || last.SHA256 != b.Items[0].SHA256 {
		t.Errorf("custody ends with %+v", last)
	}
	r.intact(r.folder())
}

func TestABagWithoutPacketsSaysSo(t *testing.T) {
	r := newRig(t, nil)
	r.full()
	wantFault(t, r.Packets(t.Context(), "bag-1", &bytes.Buffer{}, "調査", police), fault.Missing, "evidence.no-packets")
}
