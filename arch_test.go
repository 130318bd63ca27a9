package sonae

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sonae/sonae/"

// layers is the architecture, read from top to bottom: a package may import
// those on the lines above its own, never below; beside it only where the
// pair stands in besides.
var layers = [][]string{
	{"event", "fault", "clock", "ledger/leaf"},
	{"blob"},
	{"i18n", "state", "bus", "archive", "ledger", "secret"},
	{"auth"},
	{"flow", "action/order", "protect/job", "protect/engine", "protect/restic"},
	{"source"},
	{"detect"},
	{"alert", "ready/asset"},
	{"incident"},
	{"action"},
	{"notify"},
	{"evidence", "search"},
	{"duty", "incident/record", "incident/paper", "incident/cause"},
	{"incident/decision"},
	{"playbook"},
	{"incident/task"}, // its times come from clocks and steps
	{"report"},
	{"ready"},
	{"backup"},
	{"protect"},
	{"scan"},
	{"api", "ui"},
	{"agent"},
	{"hub"},
	{"cmd", "e2e", "bench"},
}

// only lists the imports that few packages keep for themselves, so that an
// engine can be replaced in one folder.
var only = map[string][]string{
	"github.com/nats-io/":            {"bus"},
	"github.com/duckdb/":             {"archive"},
	"github.com/parquet-go/":         {"archive"},
	"github.com/restic/":             {"protect/restic"},
	"filippo.io/age":                 {"backup"},
	"github.com/minio/":              {"blob"},
	"modernc.org/sqlite":             {"state"},
	"github.com/jackc/pgx":           {"state"},
	"github.com/transparency-dev/":   {"ledger"},
	"k8s.io/klog":                    {"ledger"},
	"golang.org/x/mod/sumdb/note":    {"ledger", "secret", "detect/pack"},
	"github.com/danielgtaylor/huma":  {"api"},
	"github.com/a-h/templ":           {"ui"},
	"github.com/cedar-policy/":       {"auth"},
	"github.com/pquerna/otp":         {"auth"},
	"github.com/google/nftables":     {"agent/act", "agent/forensic"},
	"github.com/tailscale/wf":        {"agent/act"},
	"github.com/go-ldap/":            {"agent/act/directory"},
	"github.com/digitorus/timestamp": {"evidence"},
	"github.com/netsampler/":         {"source/netflow"},
	"github.com/prometheus/":         {"hub"},
	"github.com/wneessen/go-mail":    {"agent/watcher", "notify/mail"},
	"github.com/emersion/":           {"notify/notifytest"}, // a mail server for tests
	"github.com/gosnmp/":             {"action/device/snmp"},
	"github.com/xuri/excelize":       {"report/xlsx"},
	"layeh.com/radius":               {"action/device/radius"},
	"github.com/cilium/ebpf":         {"agent/guard", "agent/collect"},
	// action/device/hook tells products over HTTP what to block: a connector is
	// all transport, and the stage beside it knows only its interface; so is
	// notify/webhook, and protect/repository/rest, which speaks restic's protocol
	// for the stage beside it.
	"net/http": {"protect/repository/rest", "api", "ui", "hub", "source", "agent", "cmd", "e2e", "evidence/stamp", "ledger/witness", "blob", "action/device/hook", "notify/webhook", "notify/notifytest"},
}

// agentMay is all of Sonae that the agent is built from.
var agentMay = []string{"agent", "event", "flow", "detect", "fault", "clock", "action/order", "source/agentlink/wire", "protect/job", "protect/engine", "protect/restic", "source/linux", "source/pcap", "ledger/leaf",
	"evidence/antivirus", "source", "source/feed", "source/tail", "source/told", "source/eve", "source/zeek", "source/jsonl", "source/journal", "source/windows", "source/winxml"}

type pkg struct {
	ImportPath string
	Name       string
	Imports    []string
	Doc        string
	Deps       []string
}

func packages(t *testing.T, args ...string) []pkg {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-json=ImportPath,Name,Imports,Doc,Deps"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// within says whether package path lies in folder dir.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// layer returns the line on which path stands, by its longest entry.
func layer(path string) int {
	best, at := -1, -1
	for i, line := range layers {
		for _, dir := range line {
			if within(path, dir) && len(dir) > best {
				best, at = len(dir), i
			}
		}
	}
	return at
}

func top(path string) string { first, _, _ := strings.Cut(path, "/"); return first }

func TestImportsPointUpstream(t *testing.T) {
	for _, p := range packages(t, "./...") {
		from, ok := strings.CutPrefix(p.ImportPath, module)
		if !ok {
			continue
		}
		if layer(from) < 0 {
			t.Errorf("%s stands on no line of the architecture: add it to layers", from)
		}
		for _, imp := range p.Imports {
			if to, ours := strings.CutPrefix(imp, module); ours {
				if top(to) != top(from) && layer(to) >= layer(from) {
					t.Errorf("%s imports %s, which stands beside or below it", from, to)
				}
				continue
			}
			checkOnly(t, from, imp)
		}
	}
}

func checkOnly(t *testing.T, from, imp string) {
	t.Helper()
	for prefix, owners := range only {
		if (imp == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(imp, prefix)) && !strings.HasPrefix(imp, "net/http/") &&
			!slices.ContainsFunc(owners, func(o string) bool { return within(from, o) }) {
			t.Errorf("%s imports %s: only %v may", from, imp, owners)
		}
	}
}

func TestEventImportsStandardLibraryOnly(t *testing.T) {
	for _, p := range packages(t, "./event", "./clock", "./fault", "./ledger/leaf", "./action/order", "./protect/job") {
		for _, imp := range p.Imports {
			if strings.Contains(imp, ".") {
				t.Errorf("%s imports %s", p.ImportPath, imp)
			}
		}
	}
}

func TestAgentIsBuiltFromFewPackages(t *testing.T) {
	for _, p := range packages(t, "./cmd/sonae-agent") {
		for _, dep := range p.Deps {
			to, ours := strings.CutPrefix(dep, module)
			if ours && !slices.ContainsFunc(agentMay, func(dir string) bool { return to == dir || dir != "source" && within(to, dir) }) {
				t.Errorf("the agent links %s", to)
			}
		}
	}
}

// TestAgentStaysSmall builds the agent as it is shipped: static, for a machine
// on which nothing else may be needed.
func TestAgentStaysSmall(t *testing.T) {
	const limit = 16 << 20
	out := filepath.Join(t.TempDir(), "sonae-agent")
	cmd := exec.Command("go", "build", "-ldflags=-s", "-o", out, "./cmd/sonae-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, b)
	}
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > limit {
		t.Errorf("the agent has %d bytes, more than %d: which import made it grow?", info.Size(), limit)
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t, "./...") {
		if p.Doc == "" && p.ImportPath != strings.TrimSuffix(module, "/") {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}
