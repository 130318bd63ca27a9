package evtx

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRecordsAgreeWithLibevtx compares with evtxexport of libevtx, which knows
// the format independently of us: every value of every record that it exports.
func TestRecordsAgreeWithLibevtx(t *testing.T) {
	tool, err := exec.LookPath("evtxexport")
	if err != nil {
		t.Skip("evtxexport is not installed: Debian package libevtx-utils")
	}
	for name, log := range files(t, "evtx-samples.tar.gz", ".evtx") {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log.evtx")
			if err := os.WriteFile(path, log, 0o600); err != nil {
				t.Fatal(err)
			}
			// it gives up with status 1 at what it cannot read, after
			// exporting what comes before
			out, _ := exec.Command(tool, "-f", "xml", path).Output()
			theirs, stopped := exported(t, out)
			ours, _ := read(t, log)
			ours = only(ours, theirs)
			if len(ours) < len(theirs) {
				t.Fatalf("%d of the %d records that evtxexport reads", len(ours), len(theirs))
			}
			for i := range theirs {
				for _, difference := range differences(plain(ours[i]), plain(theirs[i])) {
					t.Errorf("record %s: %s", theirs[i]["EventRecordID"], difference)
				}
			}
			t.Logf("%d records compared%s", len(theirs), stopped)
		})
	}
}

// only returns the records of ours whose EventRecordID follows those of
// theirs: we also read records that libevtx leaves.
func only(ours, theirs []map[string][]string) []map[string][]string {
	var same []map[string][]string
	for _, r := range ours {
		if len(same) < len(theirs) && fmt.Sprint(r["EventRecordID"]) == fmt.Sprint(theirs[len(same)]["EventRecordID"]) {
			same = append(same, r)
		}
	}
	return same
}

// node is an element of an exported event.
type node struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []node     `xml:",any"`
}

// exported reads the events that evtxexport printed, one document after the
// other below a line with its name.
func exported(t *testing.T, out []byte) (all []map[string][]string, stopped string) {
	t.Helper()
	parts := strings.Split(string(out), "<Event xmlns=")
	for _, part := range parts[1:] {
		document := "<Event xmlns=" + part
		end := strings.LastIndex(document, "</Event>")
		if end < 0 {
			return all, ", the next one it cannot read"
		}
		var event node
		d := xml.NewDecoder(bytes.NewReader([]byte(valid(document[:end+len("</Event>")]))))
		d.Strict = false
		if err := d.Decode(&event); err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("%v in %s", err, document)
		}
		m := map[string][]string{}
		for i := range event.Children {
			section := &event.Children[i]
			prefix := ""
			switch section.XMLName.Local {
			case "System", "EventData", "UserData":
			default:
				prefix = section.XMLName.Local + "."
			}
			section.attributes(m, "")
			for j := range section.Children {
				section.Children[j].flatten(m, prefix)
			}
		}
		all = append(all, m)
	}
	return all, ""
}

// valid removes the characters that XML cannot hold and evtxexport writes.
func valid(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' && r != '\r' {
			return -1
		}
		return r
	}, s)
}

// flatten names values as Read does.
func (n *node) flatten(m map[string][]string, prefix string) {
	name := n.attributes(m, prefix)
	for i := range n.Children {
		n.Children[i].flatten(m, prefix)
	}
	name = prefix + strings.ReplaceAll(name, " ", "")
	if len(n.Children) == 0 {
		m[name] = append(m[name], n.Text)
	}
}

// attributes flattens those of n and returns what n itself is to be called.
func (n *node) attributes(m map[string][]string, prefix string) string {
	name := n.XMLName.Local
	for _, a := range n.Attrs {
		switch {
		case a.Name.Local == "xmlns" || a.Name.Space == "xmlns":
		case a.Name.Local == "Name" && (name == "Data" || name == "ComplexData"):
			name = a.Value
		default:
			key := prefix + n.XMLName.Local + "_" + a.Name.Local
			m[key] = append(m[key], a.Value)
		}
	}
	return name
}

var (
	hexNumber = regexp.MustCompile(`^0x0*([0-9a-fA-F]+)$`)
	guid      = regexp.MustCompile(`^\{?([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})\}?$`)
	moment    = regexp.MustCompile(`^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})\d*Z$`)
)

// plain brings the values of both to one way of writing: libevtx fills up
// hexadecimal numbers with zeroes, puts braces around GUIDs, writes times to
// the nanosecond, and has an empty element where a value is null.
func plain(r map[string][]string) map[string][]string {
	m := map[string][]string{}
	for name, values := range r {
		for _, v := range values {
			v = strings.TrimSpace(valid(strings.ReplaceAll(v, "\r", "")))
			switch {
			case hexNumber.MatchString(v):
				v = "0x" + hexNumber.FindStringSubmatch(v)[1]
			case guid.MatchString(v):
				v = strings.ToUpper(guid.FindStringSubmatch(v)[1])
			case moment.MatchString(v):
				v = moment.FindStringSubmatch(v)[1] + "Z"
			}
			if v != "" {
				m[name] = append(m[name], v)
			}
		}
	}
	for _, added := range []string{"Image", "ParentImage"} { // to a 4688
		if m["EventID"] != nil && m["EventID"][0] == "4688" {
			delete(m, added)
		}
	}
	return m
}
