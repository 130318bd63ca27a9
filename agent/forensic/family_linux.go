package forensic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/sonae/sonae/agent/forensic/core"
)

// Bounds of the tree of a process.
const (
	maxKin    = 32 // processes with all facts
	maxCores  = 16 // processes with their memory
	maxParent = 16 // of those above
)

// family is a process of interest, what it started, and what started it.
type family struct {
	members []int // the process itself first
	above   []int // its parents, nearest first, without the first process
	more    int   // members beyond maxKin
	why     string
}

// parent reads /proc/PID/stat for parent and time of the start (clock ticks
// since boot).
func parent(pid int) (ppid int, start uint64, ok bool) {
	text := line(fmt.Sprintf("/proc/%d/stat", pid))
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 20 {
		return 0, 0, false
	}
	ppid, err1 := strconv.Atoi(f[1])
	start, err2 := strconv.ParseUint(f[19], 10, 64)
	return ppid, start, errors.Join(err1, err2) == nil
}

// family finds the tree once: what is frozen does not change meanwhile, and
// what is not is taken as it was first seen.
func (w *wanted) family() family {
	if w.kin == nil {
		w.kin = findFamily(w.order.PID, w.order.Start)
	}
	return *w.kin
}

// findFamily looks for the tree of a process. start 0: not known. A process
// that has ended, or whose number is another one's by now, has a reason.
func findFamily(pid int, start uint64) *family {
	if pid <= 0 {
		return &family{why: "the order names no process"}
	}
	k := &family{members: []int{pid}}
	up, begun, ok := parent(pid)
	if ok && start != 0 && begun != start {
		return &family{why: fmt.Sprintf("process %d has ended; its number belongs to another process now", pid)}
	}
	for ok && up > 1 && len(k.above) < maxParent {
		k.above = append(k.above, up)
		up, _, ok = parent(up)
	}
	children := map[int][]int{}
	all, err := pids()
	if err != nil {
		return k
	}
	for _, p := range all {
		if up, _, ok := parent(p); ok {
			children[up] = append(children[up], p)
		}
	}
	for i := 0; i < len(k.members) && pid != 1; i++ {
		for _, c := range children[k.members[i]] {
			if slices.Contains(k.members, c) {
				continue
			}
			if len(k.members) == maxKin {
				k.more++
				continue
			}
			k.members = append(k.members, c)
		}
	}
	return k
}

// facts is what /proc says of the whole tree, the programs included.
func (w *wanted) facts() []task {
	k := w.family()
	if len(k.members) == 0 {
		return []task{absent("process/of-interest", "疑わしいプロセス / Process of interest", k.why)}
	}
	all := []task{w.tree(k)}
	programs := map[string]bool{}
	for _, pid := range k.members {
		all = append(all, w.process(pid, programs)...)
	}
	for _, pid := range k.above {
		all = append(all, w.brief(pid)...)
	}
	return all
}

// tree tells who belongs to whom, and what the order said of the process.
func (w *wanted) tree(k family) task {
	pid := k.members[0]
	return small(fmt.Sprintf("process/%d/tree.json", pid), fmt.Sprintf("プロセス %d の親と子 / parents and children of process %d", pid, pid), "/proc/*/stat", func(context.Context, int64) ([]byte, string, error) {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
			return nil, "", err
		}
		cut := ""
		if k.more > 0 {
			cut = fmt.Sprintf("%d more processes of the tree are not taken", k.more)
		}
		exe := linkOf(fmt.Sprintf("/proc/%d/exe", pid))
		_, start, _ := parent(pid)
		b, err := json.MarshalIndent(map[string]any{"pid": pid, "start_ticks": start, "exe": exe, "wanted_image": w.order.Image, "wanted_start_ticks": w.order.Start,
			"same_image": w.order.Image == "" || w.order.Image == strings.TrimSuffix(exe, " (deleted)"), "members": k.members, "above": k.above}, "", "  ")
		return append(b, '\n'), cut, err
	})
}

// process is all that /proc says of one process. A program that several
// processes run is taken once.
func (w *wanted) process(pid int, programs map[string]bool) []task {
	dir, proc := fmt.Sprintf("process/%d/", pid), "/proc/"+strconv.Itoa(pid)+"/"
	title := func(ja, en string) string {
		return fmt.Sprintf("プロセス %d の%s / %s of process %d", pid, ja, en, pid)
	}
	var all []task
	for _, f := range [][3]string{{"cmdline", "起動時の引数", "arguments"}, {"environ", "環境変数", "environment"}, {"maps", "メモリーの配置", "memory map"}, {"status", "状態", "status"},
		{"stat", "状態（数値）", "status (numbers)"}, {"cgroup", "所属するサービス", "service"}, {"limits", "制限", "limits"}, {"io", "読み書きの量", "bytes read and written"},
		{"mountinfo", "見えているファイルシステム", "mounts"}} {
		all = append(all, w.file(dir+f[0], title(f[1], f[2]), proc+f[0]))
	}
	all = append(all,
		small(dir+"links.txt", title("プログラムと作業場所", "program and folders"), "readlink "+proc+"{exe,cwd,root,ns/*}", links(proc)),
		small(dir+"fd.txt", title("開いているもの", "open files"), "readlink "+proc+"fd/*", descriptors(proc)))
	if id := identity(proc + "exe"); id == "" || !programs[id] {
		programs[id] = true
		all = append(all, w.file(dir+"exe.bin", title("プログラム本体", "program file"), proc+"exe"))
	}
	return all
}

// brief is what matters of a process that only started the one of interest.
func (w *wanted) brief(pid int) []task {
	dir, proc := fmt.Sprintf("process/%d/", pid), "/proc/"+strconv.Itoa(pid)+"/"
	title := func(ja, en string) string {
		return fmt.Sprintf("親のプロセス %d の%s / %s of parent process %d", pid, ja, en, pid)
	}
	return []task{w.file(dir+"cmdline", title("起動時の引数", "arguments"), proc+"cmdline"), w.file(dir+"status", title("状態", "status"), proc+"status"),
		small(dir+"links.txt", title("プログラムと作業場所", "program and folders"), "readlink "+proc+"{exe,cwd,root,ns/*}", links(proc))}
}

// memory is the memory of the tree.
func (w *wanted) memory() []task {
	k := w.family()
	if len(k.members) == 0 {
		return []task{absent("process/of-interest.core", "疑わしいプロセスのメモリー / Memory of the process of interest", k.why)}
	}
	var all []task
	for _, pid := range k.members[:min(len(k.members), maxCores)] {
		all = append(all, task{path: fmt.Sprintf("process/%d/core.elf", pid), title: fmt.Sprintf("プロセス %d のメモリー / memory of process %d", pid, pid),
			method: fmt.Sprintf("/proc/%d/mem, touched pages, as ELF core", pid), max: w.cfg.MaxCore, open: func(ctx context.Context, limit int64) (io.ReadCloser, string, error) {
				return dump(ctx, pid, limit)
			}})
	}
	if n := len(k.members) - len(all); n > 0 {
		all = append(all, absent("process/more.core", "ほかのプロセスのメモリー / Memory of more processes", fmt.Sprintf("%d processes of the tree are not taken", n)))
	}
	return all
}

func dump(ctx context.Context, pid int, limit int64) (io.ReadCloser, string, error) {
	c, err := core.Open(ctx, pid, core.Options{MaxBytes: limit})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("process %d has ended: %w", pid, err)
	}
	if err != nil {
		return nil, "", err
	}
	return c, c.Left().String(), nil
}

func links(proc string) func(context.Context, int64) ([]byte, string, error) {
	return func(context.Context, int64) ([]byte, string, error) {
		if _, err := os.Stat(proc); err != nil {
			return nil, "", err
		}
		var b bytes.Buffer
		names := []string{"exe", "cwd", "root"}
		entries, err := os.ReadDir(proc + "ns")
		if err == nil {
			for _, e := range entries {
				names = append(names, "ns/"+e.Name())
			}
		}
		for _, n := range names {
			fmt.Fprintf(&b, "%s -> %s\n", n, linkOf(proc+n))
		}
		return b.Bytes(), "", nil
	}
}

func descriptors(proc string) func(context.Context, int64) ([]byte, string, error) {
	return func(context.Context, int64) ([]byte, string, error) {
		entries, err := os.ReadDir(proc + "fd")
		if err != nil {
			return nil, "", err
		}
		var b bytes.Buffer
		for _, e := range entries {
			fmt.Fprintf(&b, "%s -> %s\n", e.Name(), linkOf(proc+"fd/"+e.Name()))
		}
		return b.Bytes(), "", nil
	}
}
