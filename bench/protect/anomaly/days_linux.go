package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// ordinary is a day without an attack. extra is what happens besides the work
// that every day has; "" for nothing.
func (h *house) ordinary(ctx context.Context, extra string) error {
	h.turns["idle"] = 0
	weekend := h.day.Weekday()%6 == 0
	share := 0.01 + 0.03*h.rnd.Float64()
	if weekend {
		share /= 5
	}
	if err := errors.Join(h.refill(), h.work(share)); err != nil {
		return err
	}
	if err := h.logs(); err != nil {
		return err
	}
	if h.w.pg != nil && h.turns["database"] > 0 {
		if err := h.database(ctx); err != nil {
			return err
		}
	}
	switch extra {
	case "package upgrade":
		return h.upgrade()
	case "photo import":
		return h.photos(20 + h.rnd.IntN(60))
	case "zip archiving":
		return h.archive(ctx)
	case "folder moved":
		return h.move()
	case "files renamed":
		return h.rename()
	case "folder deleted":
		return h.remove()
	case "reorganised":
		return h.work(0.3)
	case "gpg":
		return h.gpg(ctx)
	case "zip -e":
		return h.zipSealed(ctx)
	}
	return nil
}

// refill adds files day by day to a new folder while the departments have fewer
// than in the beginning, because folders were archived or deleted.
func (h *house) refill() error {
	all, err := h.departments()
	if err != nil {
		return err
	}
	if h.turns["files"] == 0 {
		h.turns["files"] = len(all)
	}
	for range min(12, h.turns["files"]-len(all)) {
		kinds := []string{".txt", ".docx", ".csv", ".jpg", ".pdf", ".xlsx", ".db", ".png"}
		n := h.turns["refilled"]
		h.turns["refilled"]++
		if err := h.swap(filepath.Join(h.root, fmt.Sprintf("dept-new-%03d", n/30), fmt.Sprintf("%04d%s", n, kinds[n%len(kinds)]))); err != nil {
			return err
		}
	}
	return nil
}

// work edits, makes and deletes files of departments.
func (h *house) work(share float64) error {
	all, err := h.departments()
	if err != nil {
		return err
	}
	h.rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	n := int(share * float64(len(all)))
	for i, name := range all[:n] {
		at := filepath.Join(h.root, name)
		switch {
		case i%12 == 11:
			err = os.Remove(at)
		case i%6 == 5:
			err = h.swap(filepath.Join(filepath.Dir(at), fmt.Sprintf("new-%x%s", h.rnd.Uint32(), filepath.Ext(at))))
		case slices.Contains([]string{".txt", ".csv"}, filepath.Ext(at)) && h.rnd.IntN(3) > 0:
			err = h.write(at)
		default:
			err = h.swap(at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *house) departments() ([]string, error) {
	all, err := h.files(".")
	return slices.DeleteFunc(all, func(name string) bool { return !strings.HasPrefix(name, "dept") }), err
}

// swap puts another file of the same kind in the place of one.
func (h *house) swap(at string) error {
	spare := h.w.spare[filepath.Ext(at)]
	if len(spare) == 0 {
		return nil
	}
	return copyFile(spare[h.rnd.IntN(len(spare))], at)
}

// write changes a text as a person does: a part is replaced, something is added.
func (h *house) write(at string) error {
	b, err := os.ReadFile(at)
	if err != nil || len(b) == 0 {
		return err
	}
	from := h.rnd.IntN(len(b))
	line := fmt.Sprintf("\n%s 追記 %d の件、確認済み。\n", h.day.Format("2006-01-02"), h.rnd.IntN(1e6))
	b = slices.Concat(b[:from], []byte(line), b[min(len(b), from+h.rnd.IntN(400)):])
	return os.WriteFile(at, b, 0o644)
}

// logs grow, and rotate with compression.
func (h *house) logs() error {
	for _, name := range []string{"syslog", "app.log", "access.log"} {
		at := filepath.Join(h.root, "log", name)
		for i := 6; i > 1; i-- {
			_ = os.Rename(fmt.Sprintf("%s.%d.gz", at, i-1), fmt.Sprintf("%s.%d.gz", at, i)) // those that are there
		}
		if b, err := os.ReadFile(at + ".1"); err == nil {
			var out bytes.Buffer
			z := gzip.NewWriter(&out)
			_, _ = z.Write(b) // into memory
			_ = z.Close()
			if err := write(at+".2.gz", out.Bytes()); err != nil {
				return err
			}
		}
		_ = os.Rename(at, at+".1")
		var b bytes.Buffer
		for range 300 + h.rnd.IntN(300) {
			fmt.Fprintf(&b, "%s host%d service[%d]: 受付 %d が完了しました status=%d ms=%d\n", h.day.Format("2006-01-02T15:04:05"), h.rnd.IntN(9), h.rnd.IntN(30000), h.rnd.Uint32(), 200+h.rnd.IntN(300), h.rnd.IntN(4000))
		}
		if err := write(at, b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// photos come from a camera.
func (h *house) photos(n int) error {
	for i := range n {
		m := image.NewRGBA(image.Rect(0, 0, 160, 120))
		base := h.rnd.IntN(120)
		for y := range 120 {
			for x := range 160 {
				g := h.rnd.IntN(40)
				m.SetRGBA(x, y, color.RGBA{uint8(base + x/2 + g), uint8(base + y/2 + g), uint8(base + g), 255})
			}
		}
		var b bytes.Buffer
		if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 85}); err != nil {
			return err
		}
		if err := write(filepath.Join(h.root, "photo", h.day.Format("20060102"), fmt.Sprintf("IMG_%04d.JPG", i)), b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// upgrade replaces a package by its next version.
func (h *house) upgrade() error {
	names := make([]string, 0, len(h.w.debs))
	for name := range h.w.debs {
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	name := names[h.turns["upgrade"]%len(names)]
	h.turns["upgrade"]++
	h.turns[name]++
	to := filepath.Join(h.root, "packages", name)
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	versions := h.w.debs[name]
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return run(exec.Command("cp", "-a", versions[h.turns[name]%len(versions)], to))
}

func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// folder picks a folder of a department that holds enough, "" when none does.
func (h *house) folder() (string, []string, error) {
	all, err := h.departments()
	if err != nil {
		return "", nil, err
	}
	in := map[string][]string{}
	for _, name := range all {
		in[filepath.Dir(name)] = append(in[filepath.Dir(name)], name)
	}
	var dirs []string
	for dir, names := range in {
		if len(names) >= 10 {
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) == 0 {
		h.turns["idle"] = 1
		return "", nil, nil
	}
	slices.Sort(dirs)
	dir := dirs[h.rnd.IntN(len(dirs))]
	return dir, in[dir], nil
}

// archive zips a folder and deletes it.
func (h *house) archive(ctx context.Context) error {
	dir, _, err := h.folder()
	if dir == "" || err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "zip", "-q", "-r", fmt.Sprintf("archive-%s-%d.zip", h.day.Format("20060102"), h.rnd.IntN(1000)), dir)
	cmd.Dir = h.root
	if err := run(cmd); err != nil {
		return err
	}
	return h.empty(dir)
}

// empty deletes what lies in a folder.
func (h *house) empty(dir string) error {
	at := filepath.Join(h.root, dir)
	if err := os.RemoveAll(at); err != nil {
		return err
	}
	return os.MkdirAll(at, 0o755)
}

func (h *house) move() error {
	dir, _, err := h.folder()
	if dir == "" || err != nil {
		return err
	}
	return os.Rename(filepath.Join(h.root, dir), filepath.Join(h.root, fmt.Sprintf("dept-%x", h.rnd.Uint32())))
}

// rename gives the files of a folder other names.
func (h *house) rename() error {
	dir, names, err := h.folder()
	if dir == "" || err != nil {
		return err
	}
	for i, name := range names {
		to := filepath.Join(h.root, dir, fmt.Sprintf("%s-%03d%s", h.day.Format("2006-01-02"), i, filepath.Ext(name)))
		if err := os.Rename(filepath.Join(h.root, name), to); err != nil {
			return err
		}
	}
	return nil
}

func (h *house) remove() error {
	dir, _, err := h.folder()
	if dir == "" || err != nil {
		return err
	}
	return h.empty(dir)
}

// gpg encrypts a folder file by file, as a person does with a loop.
func (h *house) gpg(ctx context.Context) error {
	_, names, err := h.folder()
	if err != nil {
		return err
	}
	home := filepath.Join(h.dir, "gnupg")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	for _, name := range names {
		at := filepath.Join(h.root, name)
		cmd := exec.CommandContext(ctx, "gpg", "--homedir", home, "--batch", "--yes", "--passphrase", "of the owner", "--pinentry-mode", "loopback", "--s2k-count", "65536", "-c", at)
		if err := run(cmd); err != nil {
			return err
		}
		if err := os.Remove(at); err != nil {
			return err
		}
	}
	return nil
}

// zipSealed makes of each file of a folder one with a password.
func (h *house) zipSealed(ctx context.Context) error {
	_, names, err := h.folder()
	if err != nil {
		return err
	}
	for _, name := range names {
		cmd := exec.CommandContext(ctx, "zip", "-q", "-m", "-j", "-P", "of the owner", filepath.Join(h.root, name)+".zip", filepath.Join(h.root, name))
		if err := run(cmd); err != nil {
			return err
		}
	}
	return nil
}
