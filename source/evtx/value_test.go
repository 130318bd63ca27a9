package evtx

import (
	"math"
	"reflect"
	"testing"
)

func TestValuesReadAsEvtxDumpWritesThem(t *testing.T) {
	sid := []byte{1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0}
	guid := []byte{0x5f, 0x38, 0x70, 0x57, 0x2a, 0xc2, 0xe0, 0x43, 0xbf, 0x4c, 0x06, 0xf5, 0x69, 0x8f, 0xfb, 0xd9}
	systemTime := []byte{0xe9, 7, 11, 0, 4, 0, 27, 0, 7, 0, 40, 0, 10, 0, 165, 0}
	for name, tt := range map[string]struct {
		kind kind
		data []byte
		want []string
	}{
		"null":                           {kindNull, nil, nil},
		"text":                           {kindString, wide("a \u5099 \U0001f512"), []string{"a \u5099 \U0001f512"}},
		"empty text":                     {kindString, nil, []string{""}},
		"text with its zero":             {kindString, append(wide("a"), 0, 0), []string{"a"}},
		"text of an odd number of bytes": {kindString, append(wide("a"), 'b'), []string{"a"}},
		"text with half a pair":          {kindString, []byte{'a', 0, 0x3d, 0xd8}, []string{"a\ufffd"}},
		"UTF-8":                          {kindANSI, []byte("a\u5099\x00"), []string{"a\u5099"}},
		"Latin-1":                        {kindANSI, []byte("M\xfcller"), []string{"M\u00fcller"}},
		"int8":                           {kindInt8, []byte{0xff}, []string{"-1"}},
		"uint8":                          {kindUint8, []byte{0xff}, []string{"255"}},
		"int16":                          {kindInt16, little(0x8000, 2), []string{"-32768"}},
		"uint16":                         {kindUint16, little(4624, 2), []string{"4624"}},
		"int32":                          {kindInt32, little(0xfffffffe, 4), []string{"-2"}},
		"uint32":                         {kindUint32, little(0xfffffffe, 4), []string{"4294967294"}},
		"int64":                          {kindInt64, little(math.MaxUint64, 8), []string{"-1"}},
		"uint64":                         {kindUint64, little(math.MaxUint64, 8), []string{"18446744073709551615"}},
		"a number with no bytes":         {kindUint32, nil, nil},
		"a number of three bytes":        {kindUint32, []byte{1, 2, 0xfa}, []string{"0102FA"}},
		"float":                          {kindFloat, little(uint64(math.Float32bits(0.1)), 4), []string{"0.1"}},
		"double":                         {kindDouble, float(1234.5), []string{"1234.5"}},
		"a whole double":                 {kindDouble, float(3), []string{"3"}},
		"true":                           {kindBool, little(1, 4), []string{"true"}},
		"false":                          {kindBool, little(0, 4), []string{"false"}},
		"binary":                         {kindBinary, []byte{0, 0xab, 0x1f}, []string{"00AB1F"}},
		"GUID":                           {kindGUID, guid, []string{"5770385F-C22A-43E0-BF4C-06F5698FFBD9"}},
		"half a GUID":                    {kindGUID, guid[:2], []string{"5F38"}},
		"size of 32 bits":                {kindSize, little(588, 4), []string{"588"}},
		"size of 64 bits":                {kindSize, little(588, 8), []string{"588"}},
		"FILETIME":                       {kindFileTime, little(134087028101653243, 8), []string{"2025-11-27T07:40:10.165324Z"}},
		"no FILETIME":                    {kindFileTime, little(math.MaxUint64, 8), []string{"0xffffffffffffffff"}},
		"FILETIME zero":                  {kindFileTime, little(0, 8), []string{"1601-01-01T00:00:00.000000Z"}},
		"SYSTEMTIME":                     {kindSysTime, systemTime, []string{"2025-11-27T07:40:10.165000Z"}},
		"SID":                            {kindSID, sid, []string{"S-1-5-32-544"}},
		"a SID cut off":                  {kindSID, sid[:12], []string{"010200000000000520000000"}},
		"hex32":                          {kindHex32, little(0x3e7, 4), []string{"0x3e7"}},
		"hex64":                          {kindHex64, little(0x8000000000000000, 8), []string{"0x8000000000000000"}},
		"handle":                         {kindHandle, little(16, 8), []string{"0x10"}},
		"an unknown kind":                {0x55, []byte{1, 2}, []string{"0x201"}},
		"texts":                          {kindArray | kindString, append(wide("a\x00b"), 0, 0), []string{"a", "b"}},
		"texts, the last without zero":   {kindArray | kindString, wide("a\x00\x00b"), []string{"a", "", "b"}},
		"no texts":                       {kindArray | kindString, nil, nil},
		"ANSI texts":                     {kindArray | kindANSI, []byte("a\x00b"), []string{"a", "b"}},
		"uint16 array":                   {kindArray | kindUint16, []byte{1, 0, 2, 0, 3}, []string{"1", "2"}},
		"GUID array":                     {kindArray | kindGUID, guid, []string{"5770385F-C22A-43E0-BF4C-06F5698FFBD9"}},
		"SID array":                      {kindArray | kindSID, append(sid[:16:16], sid...), []string{"S-1-5-32-544", "S-1-5-32-544"}},
		"hex64 array":                    {kindArray | kindHex64, append(little(1, 8), little(2, 8)...), []string{"0x1", "0x2"}},
		"boolean array":                  {kindArray | kindBool, append(little(1, 4), little(0, 4)...), []string{"true", "false"}},
		"an array of an unknown kind":    {kindArray | 0x55, []byte{1, 2}, []string{"0102"}},
	} {
		t.Run(name, func(t *testing.T) {
			log := logOf(chunkOf(1, func(x *writer) {
				x.filled(data(substitute(0, tt.kind), "Name", text("V")), value{kind: tt.kind, data: tt.data})
			}))
			records, report := read(t, log)
			if len(records) != 1 || report.Damaged != 0 {
				t.Fatalf("%d records, %v", len(records), report.Damage)
			}
			if got := records[0]["V"]; !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestContentOfElements(t *testing.T) {
	pi := func(x *writer) {
		x.bytes(tokenPITarget)
		x.name("target")
		x.bytes(tokenPIData)
		x.counted("data")
	}
	entity := func(name string) func(*writer) {
		return func(x *writer) {
			x.bytes(tokenEntity)
			x.name(name)
		}
	}
	cdata := func(x *writer) {
		x.bytes(tokenCDATA)
		x.counted("if (a < b)")
	}
	char := func(x *writer) {
		x.bytes(tokenCharRef)
		x.u16('&')
	}
	for name, tt := range map[string]struct {
		content func(*writer)
		want    []string
	}{
		"text in pieces":               {several(text("a"), text("b")), []string{"ab"}},
		"white space alone is nothing": {text("\r\n "), nil},
		"nothing":                      {nil, nil},
		"entities":                     {several(entity("lt"), entity("gt"), entity("amp"), entity("quot"), entity("apos")), []string{`<>&"'`}},
		"a character by number":        {char, []string{"&"}},
		"CDATA":                        {cdata, []string{"if (a < b)"}},
		"instructions are skipped":     {several(pi, text("a"), pi), []string{"a"}},
		"text around a value":          {several(text("n="), substitute(0, kindUint8), text(";")), []string{"n=7;"}},
		"text around a null":           {several(text("n="), substitute(1, kindUint8)), []string{"n="}},
		"two nulls":                    {several(substitute(1, kindUint8), substitute(9, kindUint8)), nil},
		"an array amid text":           {several(text("n="), substitute(2, kindArray|kindUint8)), []string{"n=1,2"}},
	} {
		t.Run(name, func(t *testing.T) {
			log := logOf(chunkOf(1, func(x *writer) {
				x.filled(data(tt.content), value{kind: kindUint8, data: []byte{7}}, value{}, value{kind: kindArray | kindUint8, data: []byte{1, 2}})
			}))
			records, report := read(t, log)
			if len(records) != 1 || report.Damaged != 0 {
				t.Fatalf("%d records, %v", len(records), report.Damage)
			}
			if got := records[0]["Data"]; !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNamesOfFields(t *testing.T) {
	for name, tt := range map[string]struct {
		event func(*writer)
		want  map[string][]string
	}{
		"attributes of System": {
			func(x *writer) {
				x.open("System")
				x.leaf("Provider", nil, "Name", text("P"), "Guid", text("G"))
				x.leaf("EventID", text("7"), "Qualifiers", text("1"))
				x.shut()
			},
			map[string][]string{"Provider_Name": {"P"}, "Provider_Guid": {"G"}, "EventID": {"7"}, "EventID_Qualifiers": {"1"}},
		},
		"Data by its Name, without spaces": {
			func(x *writer) {
				x.open("EventData")
				x.leaf("Data", text("a"), "Name", text("Threat Name"))
				x.leaf("Data", text("b"))
				x.leaf("Data", text("c"))
				x.leaf("Binary", text("d"))
				x.shut()
			},
			map[string][]string{"ThreatName": {"a"}, "Data": {"b", "c"}, "Binary": {"d"}},
		},
		"a Name that is a value": {
			func(x *writer) {
				x.open("EventData")
				x.leaf("Data", text("a"), "Name", substitute(0, kindString))
				x.shut()
			},
			map[string][]string{"FromValue": {"a"}},
		},
		"UserData": {
			func(x *writer) {
				x.open("UserData")
				x.open("LogFileCleared", "xmlns", text("http://x"), "xmlns:auto", text("http://y"))
				x.leaf("SubjectUserName", text("u"))
				x.leaf("Error", nil, "Code", text("15007"))
				x.shut()
				x.shut()
			},
			map[string][]string{"SubjectUserName": {"u"}, "Error_Code": {"15007"}},
		},
		"other sections": {
			func(x *writer) {
				x.open("RenderingInfo", "Culture", text("ja-JP"))
				x.leaf("Message", text("m"))
				x.open("Keywords")
				x.leaf("Keyword", text("k"))
				x.shut()
				x.shut()
			},
			map[string][]string{"RenderingInfo_Culture": {"ja-JP"}, "RenderingInfo.Message": {"m"}, "RenderingInfo.Keyword": {"k"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			log := logOf(chunkOf(1, func(x *writer) {
				x.filled(func(x *writer) { x.leaf("Event", tt.event) }, value{kind: kindString, data: wide("From Value")})
			}))
			records, report := read(t, log)
			if len(records) != 1 || report.Damaged != 0 {
				t.Fatalf("%d records, %v", len(records), report.Damage)
			}
			if !reflect.DeepEqual(records[0], tt.want) {
				t.Errorf("got %q, want %q", records[0], tt.want)
			}
		})
	}
}
