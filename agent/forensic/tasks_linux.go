package forensic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/forensic/plan"
)

// stages makes the plan's items tasks. What a pattern fits is looked up when
// its stage begins, so that it costs the earlier ones no time.
func (c *Collector) stages(o order.Order) []stage {
	w := &wanted{Collector: c, order: o}
	all := []stage{{1, func(context.Context) []task { return []task{c.planned()} }}}
	for _, s := range c.cfg.Plan.Stages {
		all = append(all, stage{len(s.Items), func(ctx context.Context) []task {
			var tasks []task
			for _, it := range s.Items {
				tasks = append(tasks, w.tasks(ctx, it)...)
			}
			return tasks
		}})
	}
	return all
}

// planned tells in the bag itself what was to be taken, in which order, and
// what of the site's own plan could not be read.
func (c *Collector) planned() task {
	return small("plan.jsonl", "収集の計画 / The plan of the collection", "plan of the agent", func(_ context.Context, limit int64) ([]byte, string, error) {
		cut := ""
		if c.cfg.Mistakes != nil {
			cut = "the site's own plan: " + c.cfg.Mistakes.Error()
		}
		b, more, err := jsonLines(limit, func(add func(any) bool) error {
			for _, s := range c.cfg.Plan.Stages {
				for _, it := range s.Items {
					if !add(map[string]any{"stage": s.ID, "stage_title": s.Title.String(), "within_seconds": s.Within.Seconds(), "kind": it.Kind, "what": it.What,
						"command": it.Args, "to": it.To, "title": it.Title.String()}) {
						return nil
					}
				}
			}
			return nil
		})
		return b, strings.TrimPrefix(cut+"; "+more, "; "), err
	})
}

// wanted is what one order asks for.
type wanted struct {
	*Collector
	order order.Order
	kin   *family // once it was looked for
}

// tasks are those of one item of the plan.
func (w *wanted) tasks(ctx context.Context, it plan.Item) []task {
	title := it.Title.String()
	switch it.Kind {
	case plan.Collect:
		return w.builtin(it.What, it.To, title)
	case plan.File:
		return []task{w.file(it.To, title, it.What)}
	case plan.Command:
		if it.Stream {
			return []task{w.stream(it.To, title, it.Args[0], it.Args[1:]...)}
		}
		return []task{w.command(it.To, title, it.Args[0], it.Args[1:]...)}
	case plan.Tail:
		if !strings.ContainsAny(it.What, "*?[%") {
			return []task{w.tail(it.To, title, it.What)}
		}
		return w.each(ctx, it, w.tail)
	case plan.Glob:
		return w.each(ctx, it, w.file)
	case plan.List:
		return []task{listing(it.To, title, it.What)}
	}
	return []task{absent(it.To, title, it.What)}
}

// builtin are the tasks of a collector. A name that is not known was written by
// a site.
func (w *wanted) builtin(name, to, title string) []task {
	one := func(method string, f func(context.Context, int64) ([]byte, string, error)) []task {
		return []task{small(to, title, method, f)}
	}
	switch name {
	case "clocks":
		return one("clock_gettime, /proc/uptime, /proc/sys/kernel/random/boot_id, /proc/version, /proc/self/exe", w.clocks)
	case "process-facts":
		return w.facts()
	case "process-memory":
		return w.memory()
	case "processes":
		return one("/proc/*/{stat,status,cmdline,exe,cgroup}", processList)
	case "sockets":
		return one("/proc/net/{tcp,tcp6,udp,udp6}, /proc/*/fd", socketTable)
	case "neighbours":
		return one("rtnetlink RTM_GETNEIGH", neighbours)
	case "interfaces":
		return one("rtnetlink RTM_GETLINK, RTM_GETADDR", interfaces)
	case "packets":
		return []task{w.packets(w.order)}
	case "journal":
		since := fmt.Sprintf("-%dmin", int(w.cfg.LogSpan.Minutes()))
		return []task{w.stream(to, title, "journalctl", "--no-pager", "--quiet", "-o", "export", "--since", since)}
	case "ram":
		return w.ram(title)
	case "snapshots":
		return w.snapshots(title)
	}
	return []task{absent("unknown/"+plan.BagPath("collect", name), title, "this agent has no collector of this name")}
}

// each makes a task of each file that a pattern fits; of none, one that says
// so.
func (w *wanted) each(ctx context.Context, it plan.Item, take func(path, title, from string) task) []task {
	found := plan.Find(ctx, it.What, accounts())
	var out []task
	for _, path := range found.Paths {
		if st, err := os.Lstat(path); err == nil && st.IsDir() {
			continue
		}
		out = append(out, take(plan.BagPath(it.To, path), it.Title.String(), path))
	}
	if len(out) == 0 && !found.More {
		return []task{absent(plan.BagPath(it.To, it.What), it.Title.String(), fs.ErrNotExist.Error()+": "+it.What)}
	}
	if found.More {
		out = append(out, absent(plan.BagPath(it.To, it.What), it.Title.String(), "more files than are taken: "+it.What))
	}
	return out
}

func accounts() string {
	b, _, err := readAll("/etc/passwd", 1<<20)
	if err != nil {
		return ""
	}
	return string(b)
}

// listing is what is where, without the content.
func listing(path, title, pattern string) task {
	return small(path, title, "lstat "+pattern, func(ctx context.Context, limit int64) ([]byte, string, error) {
		found := plan.Find(ctx, pattern, accounts())
		if len(found.Paths) == 0 && !found.More {
			return nil, "", fmt.Errorf("%w: %s", fs.ErrNotExist, pattern)
		}
		b, cut, err := jsonLines(limit, func(add func(any) bool) error {
			for _, p := range found.Paths {
				if st, err := os.Lstat(p); err == nil && !add(described(p, st)) {
					return nil
				}
			}
			return nil
		})
		if found.More && cut == "" {
			cut = fmt.Sprintf("only the first %d names", len(found.Paths))
		}
		return b, cut, err
	})
}

func described(path string, st fs.FileInfo) map[string]any {
	m := map[string]any{"path": path, "mode": st.Mode().String(), "bytes": st.Size(), "modified": st.ModTime().UTC().Format(time.RFC3339Nano)}
	if s, ok := owner(st); ok {
		m["uid"], m["gid"], m["inode"], m["changed"], m["links"] = s.uid, s.gid, s.inode, s.changed.UTC().Format(time.RFC3339Nano), s.links
	}
	if st.Mode()&fs.ModeSymlink != 0 {
		m["target"] = linkOf(path)
	}
	return m
}

// ram is the whole memory, when the order asks for it.
func (w *wanted) ram(title string) []task {
	const path = "memory/ram.lime"
	if !w.order.Wants(order.WholeMemory) {
		return nil
	}
	m := w.cfg.Plan.Memory
	if m == nil {
		return []task{absent(path, title, "not supplied: the site names no tool for the whole memory (memory in "+plan.SiteFile+")")}
	}
	most := m.MaxBytes
	if most == 0 {
		most = 32 << 30
	}
	args := []string{"/proc/self/fd/1"}
	if m.Source != "" {
		args = append([]string{"--source", m.Source}, args...)
	}
	return []task{{path: path, title: title, method: strings.Join(append([]string{m.Path}, args...), " ") + ", sha256 " + m.SHA256, max: most, beside: true,
		open: func(ctx context.Context, _ int64) (io.ReadCloser, string, error) { return supplied(ctx, *m, args) }}}
}

// snapshots run the site's commands, when the order asks for it.
func (w *wanted) snapshots(title string) []task {
	if !w.order.Wants(order.Snapshot) {
		return nil
	}
	if len(w.cfg.Plan.Snapshots) == 0 {
		return []task{absent("snapshot/none", title, "not supplied: the site names no command for copies (snapshots in "+plan.SiteFile+")")}
	}
	var out []task
	for _, s := range w.cfg.Plan.Snapshots {
		out = append(out, small("snapshot/"+s.Name+".json", s.Title.String(), strings.Join(s.Args, " "), func(ctx context.Context, _ int64) ([]byte, string, error) {
			return ranOnce(ctx, s, w.cfg.Now)
		}))
	}
	return out
}

// ranOnce runs a command of the site and writes down what it said.
func ranOnce(ctx context.Context, s plan.Snapshot, now func() time.Time) ([]byte, string, error) {
	begun := now()
	r, _, err := run(ctx, s.Timeout, s.Args[0], s.Args[1:]...)
	if err != nil {
		return nil, "", err
	}
	out, err := io.ReadAll(io.LimitReader(r, 1<<20))
	_, e := io.Copy(io.Discard, r)
	failed := errors.Join(err, e, r.Close())
	told := map[string]any{"command": s.Args, "begun": begun.UTC(), "ended": now().UTC(), "output": string(out)}
	cut := ""
	if failed != nil {
		told["error"], cut = failed.Error(), "the command failed: "+failed.Error()
	}
	b, err := json.MarshalIndent(told, "", "  ")
	return append(b, '\n'), cut, err
}

// suppliedTime bounds a tool that prints the whole memory.
const suppliedTime = 3 * time.Hour

// supplied runs the tool that the site supplied, when it is the one that the
// site named: what is hashed and what is run is the same open file.
func supplied(ctx context.Context, m plan.Memory, args []string) (io.ReadCloser, string, error) {
	f, err := os.Open(m.Path)
	if err != nil {
		return nil, "", err
	}
	r, cut, err := runFile(ctx, f, m.SHA256, args)
	if e := f.Close(); err == nil && e != nil {
		return nil, "", errors.Join(e, r.Close())
	}
	return r, cut, err
}
