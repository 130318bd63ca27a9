package forensic

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/forensic/plan"
)

// script starts a shell script that waits, with a child of its own, and stops
// the whole tree.
func script(t *testing.T) (pid, child int) {
	t.Helper()
	cmd := exec.Command("sh", "-c", `KEY=$(printf 'sonae-%s' known-key); sleep 300 & echo $!; wait; echo $KEY`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
	b := make([]byte, 32)
	n, err := out.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	child, err = strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); !strings.Contains(linkOf(fmt.Sprintf("/proc/%d/exe", child)), "sleep") && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if strings.HasPrefix(fields(line(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)))["State"], "T") &&
			strings.HasPrefix(fields(line(fmt.Sprintf("/proc/%d/status", child)))["State"], "T") {
			return cmd.Process.Pid, child
		}
	}
	t.Fatal("it does not stop")
	return 0, 0
}

func TestWholeTreeWithItsMemory(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("reading the memory of another process needs root")
	}
	pid, child := script(t)
	_, start, _ := parent(pid)
	var g got
	if _, err := collector(t, nil).Collect(t.Context(), order.Order{PID: pid, Start: start, Image: "/usr/bin/other"}, g.send, nil); err != nil {
		t.Fatal(err)
	}
	core := fmt.Sprintf("process/%d/core.elf", pid)
	if it := g.items[core]; it.Err != "" || !bytes.Contains(g.body[core], []byte("sonae-known-key")) {
		t.Errorf("%+v: the key is not in %d bytes", it, len(g.body[core]))
	}
	for _, p := range []string{fmt.Sprintf("process/%d/core.elf", child), fmt.Sprintf("process/%d/environ", child), fmt.Sprintf("process/%d/exe.bin", child), fmt.Sprintf("process/%d/cmdline", os.Getpid())} {
		if it, ok := g.items[p]; !ok || it.Err != "" {
			t.Errorf("%s: %+v", p, it)
		}
	}
	var tree struct {
		Members, Above []int
		Same           bool `json:"same_image"`
	}
	if err := json.Unmarshal(g.body[fmt.Sprintf("process/%d/tree.json", pid)], &tree); err != nil {
		t.Fatal(err)
	}
	if len(tree.Members) != 2 || tree.Members[1] != child || len(tree.Above) == 0 || tree.Above[0] != os.Getpid() || tree.Same {
		t.Errorf("%+v, want child %d", tree, child)
	}
	var order []string
	for _, p := range g.order {
		if p == core || p == "network/sockets.jsonl" || p == "network/packets.pcapng" {
			order = append(order, p)
		}
	}
	if strings.Join(order, " ") != "network/sockets.jsonl "+core+" network/packets.pcapng" {
		t.Errorf("order %v", order)
	}
	if g.items[core].Title == "" || g.items["clock/clock.json"].Title != "時計と起動の記録 / Clocks and boot" {
		t.Errorf("titles %+v", g.items["clock/clock.json"])
	}
	if !strings.Contains(string(g.body["plan.jsonl"]), `"collect","stage":"memory"`) && !strings.Contains(string(g.body["plan.jsonl"]), `"process-memory"`) {
		t.Error("the plan is not in the bag")
	}
}

func TestAnotherProcessWithTheNumber(t *testing.T) {
	pid, _ := culprit(t)
	_, start, ok := parent(pid)
	if !ok {
		t.Fatal("no start")
	}
	var g got
	if _, err := collector(t, nil).Collect(t.Context(), order.Order{PID: pid, Start: start + 1}, g.send, nil); err != nil {
		t.Fatal(err)
	}
	if it := g.items["process/of-interest"]; !strings.Contains(it.Err, "another process") {
		t.Errorf("%+v", it)
	}
	if _, taken := g.items[fmt.Sprintf("process/%d/core.elf", pid)]; taken {
		t.Error("the memory of a stranger was taken")
	}
}

// TestProcessEndsMidway kills it while its memory is being sent.
func TestProcessEndsMidway(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("reading the memory of another process needs root")
	}
	pid, _ := script(t)
	core := fmt.Sprintf("process/%d/core.elf", pid)
	var g got
	send := func(ctx context.Context, it Item, r io.Reader) error {
		if it.Path != core {
			return g.send(ctx, it, r)
		}
		head := make([]byte, 4096)
		if _, err := io.ReadFull(r, head); err != nil {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return err
		}
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if line(fmt.Sprintf("/proc/%d/maps", pid)) == "" {
				break
			}
		}
		return g.send(ctx, it, io.MultiReader(bytes.NewReader(head), r))
	}
	if _, err := collector(t, nil).Collect(t.Context(), order.Order{PID: pid}, send, nil); err != nil {
		t.Fatal(err)
	}
	if it := g.items[core+".cut"]; !strings.Contains(it.Err, "ended while") || len(g.body[core]) == 0 {
		t.Errorf("%+v, %d bytes", it, len(g.body[core]))
	}
}

// tool is a program that prints like AVML: its last argument is where to.
func tool(t *testing.T, text string) (path, sum string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "avml")
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	s := sha256.Sum256([]byte(text))
	return path, hex.EncodeToString(s[:])
}

func TestWholeMemoryAndCopiesByOrder(t *testing.T) {
	path, sum := tool(t, "#!/bin/sh\nfor a; do to=$a; done\nhead -c 5000 /dev/zero > \"$to\"\n")
	broken, brokenSum := tool(t, "#!/bin/sh\nprintf half\necho locked down >&2\nexit 3\n")
	snapshots := []plan.Snapshot{{Name: "vm", Title: plan.Title{JA: "仮想"}, Args: []string{"/bin/sh", "-c", "echo kept"}, Timeout: time.Minute},
		{Name: "bad", Title: plan.Title{JA: "失敗"}, Args: []string{"/bin/sh", "-c", "echo no space >&2; exit 1"}, Timeout: time.Minute}}
	ask := order.Order{Also: []string{order.WholeMemory, order.Snapshot}}
	take := func(m *plan.Memory, s []plan.Snapshot, o order.Order) *got {
		t.Helper()
		var g got
		p := plan.Plan{Stages: []plan.Stage{{ID: "decision", Items: []plan.Item{{Kind: plan.Collect, What: "ram", Title: plan.Title{JA: "全体"}}, {Kind: plan.Collect, What: "snapshots", Title: plan.Title{JA: "写し"}}}}}, Memory: m, Snapshots: s}
		c := collector(t, func(c *Config) { c.Plan, c.MaxItem, c.MaxTotal = p, 2000, 2000 })
		if _, err := c.Collect(t.Context(), o, g.send, nil); err != nil {
			t.Fatal(err)
		}
		return &g
	}
	g := take(&plan.Memory{Path: path, SHA256: sum, Source: "/proc/kcore"}, snapshots, ask)
	if it := g.items["memory/ram.lime"]; it.Err != "" || len(g.body["memory/ram.lime"]) != 5000 || !strings.Contains(it.Method, sum) {
		t.Errorf("%+v, %d bytes", it, len(g.body["memory/ram.lime"]))
	}
	if !strings.HasPrefix(strings.Join(g.order, " "), "plan.jsonl memory/ram.lime snapshot/vm.json") {
		t.Errorf("order %v", g.order)
	}
	if !bytes.Contains(g.body["snapshot/vm.json"], []byte("kept")) || !strings.Contains(g.items["snapshot/bad.json"].Err, "no space") {
		t.Errorf("%s, %+v", g.body["snapshot/vm.json"], g.items["snapshot/bad.json"])
	}
	for why, m := range map[string]*plan.Memory{
		"not supplied":   nil,
		"is not the pro": {Path: path, SHA256: brokenSum},
		"locked down":    {Path: broken, SHA256: brokenSum},
		"no such file":   {Path: "/nonexistent/avml", SHA256: sum},
	} {
		g := take(m, nil, ask)
		if it := g.items["memory/ram.lime"]; !strings.Contains(it.Err, why) || len(g.body["memory/ram.lime"]) != 0 {
			t.Errorf("%s: %+v", why, it)
		}
		if it := g.items["snapshot/none"]; !strings.Contains(it.Err, "not supplied") {
			t.Errorf("%+v", it)
		}
	}
	if g := take(nil, nil, order.Order{}); len(g.items) != 1 {
		t.Errorf("without being asked: %v", g.order)
	}
}

func TestSitesPlanIsFollowed(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "ward")
	for _, f := range []string{"a.conf", "sub/b.conf"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(data, f)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(data, f), []byte("content of "+f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	site := fmt.Sprintf("stages:\n- id: ward\n  title: {ja: 病棟}\n  items:\n  - {glob: %q, to: ward, title: {ja: 設定}}\n  - {list: %q, to: ward.jsonl, title: {ja: 一覧}}\n  - {tail: %q, to: none, title: {ja: 記録}}\n  - {collect: nonsense, title: {ja: 不明}}\n",
		data+"/**/*.conf", data+"/*", data+"/*.log")
	if err := os.WriteFile(filepath.Join(dir, plan.SiteFile), []byte(site), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := plan.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var g got
	c := collector(t, func(c *Config) { c.Plan, c.Mistakes = p, fmt.Errorf("forensic.yaml:3: a mistake") })
	if _, err := c.Collect(t.Context(), order.Order{}, g.send, nil); err != nil {
		t.Fatal(err)
	}
	if got := string(g.body[plan.BagPath("ward", data+"/sub/b.conf")]); got != "content of sub/b.conf" {
		t.Errorf("got %q of %v", got, g.order[len(g.order)-5:])
	}
	if b := string(g.body["ward.jsonl"]); !strings.Contains(b, `"path":"`+data+`/a.conf"`) || !strings.Contains(b, `"bytes":17`) {
		t.Errorf("listing %s", b)
	}
	if it := g.items[plan.BagPath("none", data+"/*.log")]; !strings.Contains(it.Err, "does not exist") {
		t.Errorf("%+v", it)
	}
	if it := g.items["unknown/collect/nonsense"]; !strings.Contains(it.Err, "no collector") {
		t.Errorf("%+v", it)
	}
	if it := g.items["plan.jsonl"]; !strings.Contains(it.Err, "forensic.yaml:3") {
		t.Errorf("%+v", it)
	}
}

func TestTextsOfItemsFitIntoALine(t *testing.T) {
	if got := plain("a\nb\x00\xffc"); got != "a b \ufffdc" {
		t.Errorf("%q", got)
	}
	if got := plain(strings.Repeat("あ", 2000)); len(got) > 1600 {
		t.Errorf("%d bytes", len(got))
	}
}
