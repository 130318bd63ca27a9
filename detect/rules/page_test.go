package rules_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/rules"
	"github.com/sonae/sonae/detect/sigma"
	"github.com/sonae/sonae/event"
)

// Where the table of a page begins and ends.
const (
	tableBegins = "<!-- from the rules: go test ./detect/rules -update -->\n"
	tableEnds   = "<!-- end -->\n"
)

// needs says which log a rule needs, by product, category and service.
var needs = map[[3]string]map[string]string{
	{"", "process_creation", ""}:                {"ja": "Windows・Linux: プロセスの起動", "en": "Windows, Linux: process start"},
	{"windows", "process_creation", ""}:         {"ja": "Windows: プロセスの起動", "en": "Windows: process start"},
	{"linux", "process_creation", ""}:           {"ja": "Linux: プロセスの起動", "en": "Linux: process start"},
	{"", "file_event", ""}:                      {"ja": "ファイルの作成", "en": "file creation"},
	{"linux", "file_access", ""}:                {"ja": "見守るフォルダーの読み書き(エージェント)", "en": "reading and writing in watched folders (agent)"},
	{"linux", "removable_media", ""}:            {"ja": "取り外せる媒体(エージェント)", "en": "removable media (agent)"},
	{"linux", "listening_port", ""}:             {"ja": "待ち受けるポート(エージェント)", "en": "listening ports (agent)"},
	{"linux", "", "integrity"}:                  {"ja": "ファイルの変更検査(エージェント)", "en": "file integrity (agent)"},
	{"linux", "", "accounts"}:                   {"ja": "利用者と権限の変更(エージェント)", "en": "accounts and privileges (agent)"},
	{"windows", "file_event", ""}:               {"ja": "Windows: ファイルの作成", "en": "Windows: file creation"},
	{"windows", "process_access", ""}:           {"ja": "Windows: Sysmon 10", "en": "Windows: Sysmon 10"},
	{"windows", "ps_script", ""}:                {"ja": "Windows: PowerShell 4104", "en": "Windows: PowerShell 4104"},
	{"windows", "", "security"}:                 {"ja": "Windows: セキュリティのログ", "en": "Windows: security log"},
	{"windows", "", "system"}:                   {"ja": "Windows: システムのログ", "en": "Windows: system log"},
	{"windows", "", "driver-framework"}:         {"ja": "Windows: DriverFrameworks-UserMode", "en": "Windows: DriverFrameworks-UserMode"},
	{"windows", "", "printservice-operational"}: {"ja": "Windows: PrintService/Operational", "en": "Windows: PrintService/Operational"},
	{"", "antivirus", ""}:                       {"ja": "ウイルス対策", "en": "antivirus"},
	{"", "dns_query", ""}:                       {"ja": "Windows: Sysmon 22", "en": "Windows: Sysmon 22"},
	{"linux", "", ""}:                           {"ja": "Linux: システムのログ", "en": "Linux: system log"},
	{"linux", "authentication", ""}:             {"ja": "Linux: ログイン", "en": "Linux: log-ins"},
	{"", "authentication", ""}:                  {"ja": "ログイン(Linux、VPN)", "en": "log-ins (Linux, VPN)"},
	{"sonae", "authentication", "vpn"}:          {"ja": "VPNの監査の記録", "en": "audit events of the VPN"},
	{"sonae", "application", "patient-record"}:  {"ja": "患者情報の監査の記録", "en": "audit events of patient data"},
	{"sonae", behaviours, ""}:                   {"ja": "通信から学んだ振る舞い", "en": "behaviours learned from connections"},
	{"sonae", "network_connection", "flow"}:     {"ja": "通信(エージェント、pcap)", "en": "connections (agent, pcap)"},
	{"sonae", "threat_list", "ioc"}:             {"ja": "脅威リスト", "en": "threat lists"},
	{"sonae", "", "agent"}:                      {"ja": "エージェントの見張り", "en": "the agent's sensor"},
	{"linux", "file_access", ""}:                {"ja": "見張るフォルダー(エージェント)", "en": "watched folders (agent)"},
	{"linux", "", "integrity"}:                  {"ja": "変わってはいけないファイル(エージェント)", "en": "files that must not change (agent)"},
	{"linux", "removable_media", ""}:            {"ja": "取り外しのできる媒体(エージェント)", "en": "removable media (agent)"},
	{"linux", "listening_port", ""}:             {"ja": "待ち受けるポート(エージェント)", "en": "listening ports (agent)"},
	{"linux", "", "accounts"}:                   {"ja": "アカウントの変化(エージェント)", "en": "changes of accounts (agent)"},
	{"suricata", "", "alert"}:                   {"ja": "Suricata: alert", "en": "Suricata: alert"},
	{"zeek", "", "notice"}:                      {"ja": "Zeek: notice.log", "en": "Zeek: notice.log"},
}

var levels = map[event.Severity]map[string]string{
	event.Critical: {"ja": "◆ 緊急", "en": "◆ critical"},
	event.High:     {"ja": "▲ 高", "en": "▲ high"},
	event.Medium:   {"ja": "■ 中", "en": "■ medium"},
	event.Low:      {"ja": "● 低", "en": "● low"},
	event.Info:     {"ja": "○ 情報", "en": "○ info"},
}

var heads = map[string]string{
	"ja": "| 規則 | 名前 | 重さ | 見るもの | 要る記録 | 静かにするには |\n|---|---|---|---|---|---|\n",
	"en": "| Rule | Name | Level | What it sees | What it needs | How to quiet it |\n|---|---|---|---|---|---|\n",
}

// behaviours is the category of what package baseline tells.
const behaviours = "network_behaviour"

// TestPagesListEveryRule keeps the tables of doc/user equal to the rules.
func TestPagesListEveryRule(t *testing.T) {
	files := pack(t)
	for _, lang := range []string{"ja", "en"} {
		path := filepath.Join("../../doc/user", lang, "rules.md")
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before, rest, begins := strings.Cut(string(page), tableBegins)
		_, after, ends := strings.Cut(rest, tableEnds)
		if !begins || !ends {
			t.Fatalf("%s: the marks of the table are gone", path)
		}
		goldenText(t, path, before+tableBegins+table(t, files, lang)+tableEnds+after)
	}
}

func table(t *testing.T, files []file, lang string) string {
	t.Helper()
	named := map[string]rule{}
	for _, f := range files {
		for _, r := range f.rules {
			named[r.called()] = r
		}
	}
	var b strings.Builder
	b.WriteString(heads[lang])
	for _, f := range files {
		for _, r := range f.rules {
			if r.part {
				continue
			}
			var logs []string
			for _, l := range sources(r, named) {
				if l.Category == behaviours { // the service is the rule's own
					l.Service = ""
				}
				word := needs[[3]string{l.Product, l.Category, l.Service}][lang]
				if word == "" {
					t.Errorf("rule %s: no words for the log source %+v", r.called(), l)
				}
				if !strings.Contains(strings.Join(logs, ";"), word) {
					logs = append(logs, word)
				}
			}
			fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s | %s |\n", r.Extra.Title[lang], r.called(), levels[r.Level][lang],
				seen(r.Extra.What[lang], lang), strings.Join(logs, "<br>"), strings.TrimSpace(r.Extra.Quiet[lang]))
		}
	}
	return b.String()
}

// called is the name by which a filter refers to the rule.
func (r rule) called() string {
	if r.Name != "" {
		return r.Name
	}
	return r.ID
}

// sources returns the log sources of a rule, or of all a correlation stands on.
func sources(r rule, named map[string]rule) []sigma.Logsource {
	if r.over == nil {
		return []sigma.Logsource{r.Logsource}
	}
	var out []sigma.Logsource
	for _, ref := range r.over.Refs {
		out = append(out, sources(named[ref], named)...)
	}
	return out
}

var (
	asides = regexp.MustCompile(`\s?[(（][^()（）]*\{[^()（）]*[)）]`)
	place  = regexp.MustCompile(`^(\{site\}の(VPN)?\(?\{host\}\)?(で|に|が)?、?|(On|At) \{host\} (at|of) \{site\}\s|\{host\} at \{site\}\s|At \{site\}\s|\{site\}(で|のVPN\(\{host\}\)に)、?)`)
	folded = regexp.MustCompile(`([\p{Han}\p{Hiragana}\p{Katakana}、]) ([\p{Han}\p{Hiragana}\p{Katakana}])`)
)

// spoken stands for the facts of an alert.
var spoken = map[string]*strings.Replacer{
	"ja": strings.NewReplacer("利用者 {user}", "利用者", "ソフト{process}", "ソフト", "{peers}から", "一つの接続元から", "{process}", "プログラム", "{user}", "利用者", "{peers}", "相手", "{host}", "機器", "{site}", "拠点"),
	"en": strings.NewReplacer("user {user}", "user", "from {peers}", "from one address", "account {user}", "account", "the program {process}", "a program", "program {process}", "program",
		"{process}", "a program", "{user}", "a user", "{peers}", "others", "{host}", "a machine", "{site}", "a site"),
}

// seen makes of what an alert says the first sentence without the facts of a
// certain alert.
func seen(text, lang string) string {
	text = place.ReplaceAllString(strings.TrimSpace(text), "")
	text = spoken[lang].Replace(asides.ReplaceAllString(text, ""))
	text, _, _ = strings.Cut(strings.ReplaceAll(text, "\n", " "), "。")
	text = folded.ReplaceAllString(text, "$1$2")
	if head, _, more := strings.Cut(text, ". "); more {
		text = head
	}
	text = strings.TrimSuffix(strings.TrimSpace(text), ".")
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[size:]
}

// TestTheFilterOfThePagesQuietsItsRule loads the example of each page beside
// the pack: it must leave out what it permits and nothing else.
func TestTheFilterOfThePagesQuietsItsRule(t *testing.T) {
	for _, lang := range []string{"ja", "en"} {
		page, err := os.ReadFile(filepath.Join("../../doc/user", lang, "rules.md"))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(page), "```yaml\n")
		filter, _, found := strings.Cut(rest, "```")
		if !found {
			t.Fatalf("%s: the example is gone", lang)
		}
		site := fstest.MapFS{"site.yml": {Data: []byte(strings.ReplaceAll("\n"+filter, "\n   ", "\n"))}}
		e, rep, err := detect.Load(rules.FS, site)
		if err != nil || len(rep.Rejected) > 0 || len(rep.Filters) != 1 || len(rep.Filters[0].Missing) > 0 {
			t.Fatalf("%s: %v, rejected %v, filters %+v", lang, err, rep.Rejected, rep.Filters)
		}
		start := func(id, image, user string) event.Event {
			return event.Event{ID: id, Product: "windows", Category: "process_creation", Fields: map[string]string{"Image": image, "User": user}}
		}
		const permitted = `C:\Program Files (x86)\AnyDesk\AnyDesk.exe`
		_, hits := findings(e, event.Batch{ID: "b1", Events: []event.Event{
			start("permitted", permitted, `HOSPITAL\hoshu01`), start("somebody", permitted, `HOSPITAL\tanaka`), start("elsewhere", `C:\Users\hoshu01\AnyDesk.exe`, `HOSPITAL\hoshu01`)}})
		if diff := cmp.Diff(map[string][]string{rep.Filters[0].Rules[0]: {"somebody", "elsewhere"}}, hits); diff != "" {
			t.Errorf("%s (-want +got):\n%s", lang, diff)
		}
	}
}
