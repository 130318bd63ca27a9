package clinic

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/sonae/sonae/flow/proto"
	"github.com/sonae/sonae/flow/proto/prototest"
)

func pdu(kind byte, body []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{kind, 0}, uint32(len(body)))
	return append(b, body...)
}

func item(kind byte, body []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{kind, 0}, uint16(len(body)))
	return append(b, body...)
}

func associate() []byte {
	body := append([]byte{0, 1, 0, 0}, "PACS            CT1             "...)
	body = append(body, make([]byte, 32)...)
	body = append(body, item(0x10, []byte("1.2.840.10008.3.1.1.1"))...)
	body = append(body, item(0x20, append([]byte{1, 0, 0, 0}, item(0x30, []byte("1.2.840.10008.5.1.4.1.1.2"))...))...)
	return pdu(pduRequest, append(body, item(0x50, item(0x55, []byte("MODALITY_1")))...))
}

const patient = "Yamada^Taro"

var admission = "\x0bMSH|^~\\&|LAB|WARD 3|EMR|HOSP|20261128||ADT^A01|MSG1|P|2.5\rEVN|A01\rPID|1||123456||" + patient + "||19700101|M\r\x1c\r"

func TestAssociation(t *testing.T) {
	// Data with a patient's name follows the association: P-DATA-TF.
	client := append(associate(), pdu(4, []byte(patient))...)
	for _, step := range []int{0, 1, 50} {
		told := prototest.Feed(t, NewAssociation(), client, pdu(pduAccept, make([]byte, 70)), step)
		for name, want := range map[string]string{FactCalled: "PACS", FactCalling: "CT1", FactClass: "1.2.840.10008.5.1.4.1.1.2", FactImplementation: "MODALITY_1", FactAssociation: "accepted"} {
			if got := told.Value(name); got != want {
				t.Errorf("step %d: %s = %q, want %q", step, name, got, want)
			}
		}
	}
	if v, _ := IsDICOM(client); v.Label != LabelDICOM || v.Confidence != proto.Certain {
		t.Errorf("%+v", v)
	}
}

// TestNothingOfAPatient: no fact holds anything of PID, of a report or of a
// message's own number, however the bytes come.
func TestNothingOfAPatient(t *testing.T) {
	long := strings.Replace(admission, "\x1c\r", "OBX|1|TX|||"+strings.Repeat(patient, 3000)+"\r\x1c\r", 1)
	ack := "\x0bMSH|^~\\&|EMR|HOSP|LAB|WARD 3|20261128||ACK|MSG1|P|2.5\rMSA|AE|MSG1|" + patient + "\r\x1c\r"
	for name, message := range map[string]string{"short": admission, "longer than what is kept": long[:16<<10], "two": admission + admission} {
		for _, step := range []int{0, 1, 700} {
			told := prototest.Feed(t, NewFeed(), []byte(message), []byte(ack), step)
			if told.Value(FactType) != "ADT^A01" || told.Value(FactSender) != "LAB" || told.Value(FactSenderAt) != "WARD 3" {
				t.Errorf("%s, step %d: %+v", name, step, told)
			}
			answered := false
			for _, m := range told.Messages {
				for _, f := range m.Facts {
					if strings.Contains(f.Value, "Yamada") || strings.Contains(f.Value, "123456") || strings.Contains(f.Value, "MSG1") {
						t.Errorf("%s, step %d: %+v", name, step, f)
					}
					answered = answered || f == proto.Fact{Name: FactAcknowledge, Value: "AE"}
				}
			}
			if !answered {
				t.Errorf("%s, step %d: no acknowledgement in %+v", name, step, told.Messages)
			}
		}
	}
}

func TestRejectionAllocatesNothing(t *testing.T) {
	dicom := func(b []byte) proto.Verdict { v, _ := IsDICOM(b); return v }
	hl7 := func(b []byte) proto.Verdict { v, _ := IsHL7(b); return v }
	prototest.Rejects(t, "titles that are not text", append([]byte{1, 0, 0, 0, 0, 200, 0, 1, 0, 0}, make([]byte, 40)[:32:32]...)[:41], dicom)
	prototest.Rejects(t, "a length beyond reason", append([]byte{1, 0, 200, 0, 0, 200, 0, 1, 0, 0}, make([]byte, 40)...), dicom)
	prototest.Rejects(t, "delimiters that repeat", []byte("\x0bMSH|||||x"), hl7)
	prototest.Rejects(t, "another segment", []byte("\x0bPID|^~\\&|"), hl7)
}

func FuzzClinic(f *testing.F) {
	f.Add(associate(), pdu(pduAccept, make([]byte, 70)), uint16(0))
	f.Add([]byte(admission), []byte(admission), uint16(9))
	f.Fuzz(func(t *testing.T, client, server []byte, step uint16) {
		if len(client) == 0 || len(client)+len(server) > 40<<10 {
			return
		}
		v, _ := IsDICOM(client)
		prototest.Verdict(t, v, client)
		v, _ = IsHL7(client)
		prototest.Verdict(t, v, client)
		prototest.Feed(t, NewAssociation(), client, server, int(step))
		prototest.Feed(t, NewFeed(), client, server, int(step))
	})
}
