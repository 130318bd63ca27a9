package action

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// details are the forms in which agents report a check or the end of an order.
// They are part of the wire: older agents send them too.
var details = []struct {
	form *regexp.Regexp
	key  string
	args []string // names of the groups
}{
	{regexp.MustCompile(`^heartbeat after (\d+) ms$`), "hub-answered", []string{"ms"}},
	{regexp.MustCompile(`^(\d+) heartbeats, last: `), "hub-silent", []string{"tries"}},
	{regexp.MustCompile(`^no answer within (\d+) ms$`), "no-answer", []string{"ms"}},
	{regexp.MustCompile(`^it answered$`), "answered", nil},
	{regexp.MustCompile(`^it refused the connection`), "refused-connection", nil},
	{regexp.MustCompile(`^not an address`), "not-address", nil},
	{regexp.MustCompile(`^missing (\d+) of (\d+)$`), "incomplete", []string{"missing", "total"}},
	{regexp.MustCompile(`^passed (\d+) bytes, dropped (\d+) bytes$`), "passed", []string{"passed", "dropped"}},
	{regexp.MustCompile(`^interface (\d+) is off$`), "port-off", []string{"interface"}},
	{regexp.MustCompile(`^interface (\d+) is on$`), "port-on", []string{"interface"}},
	{regexp.MustCompile(`^port (\d+) is in VLAN (\d+)$`), "port-vlan", []string{"port", "vlan"}},
	{regexp.MustCompile(`^no session$`), "no-session", nil},
	{regexp.MustCompile(`^session ended$`), "session-ended", nil},
	{regexp.MustCompile(`^session moved to VLAN (\d+)$`), "session-moved", []string{"vlan"}},
	{regexp.MustCompile(`^confirmed$`), "confirmed", nil},
	{regexp.MustCompile(`^listed$`), "listed", nil},
	{regexp.MustCompile(`^not listed$`), "not-listed", nil},
	{regexp.MustCompile(`^(\d+) processes$`), "processes", []string{"count"}},
	{regexp.MustCompile(`^link up$`), "link-up", nil},
	{regexp.MustCompile(`^link down$`), "link-down", nil},
	{regexp.MustCompile(`^by the guard$`), "by-guard", nil},
	{regexp.MustCompile(`^still used by (.+)$`), "used-by", []string{"who"}},
	{regexp.MustCompile(`^mounted on (.+)$`), "mounted-on", []string{"where"}},
	{regexp.MustCompile(`^mounted by an automounter when somebody looks$`), "automounted", nil},
	{regexp.MustCompile(`^mounted with a password$`), "by-hand", nil},
	{regexp.MustCompile(`^fetched$`), "fetched", nil},
	{regexp.MustCompile(`^not fetched yet$`), "not-fetched", nil},
}

// longFailure is the longest word before the particulars of a failure.
const longFailure = 40

// Detail finds the sentence for what an agent reported: Check.Detail or
// Failure. It is a catalogue key with its arguments; "" when the words are not
// known, as those of a newer agent may be.
func Detail(text string) (key string, args map[string]string) {
	for _, d := range details {
		m := d.form.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		args = map[string]string{}
		for i, name := range d.args {
			args[name] = m[i+1]
		}
		if ms, err := strconv.Atoi(args["ms"]); err == nil { // nobody counts in milliseconds
			args["seconds"] = strconv.FormatFloat(max(math.Ceil(float64(ms)/100)/10, 0.1), 'f', 1, 64)
		}
		return "action.detail." + d.key, args
	}
	word, _, _ := strings.Cut(text, ": ")
	if word == "" || len(word) > longFailure || strings.ContainsAny(word, " /") {
		return "", nil
	}
	return "action.failure." + word, nil
}
