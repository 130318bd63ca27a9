package proof

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Volume is a mounted file system that nobody else uses.
type Volume struct {
	Dir  string
	Kind string // "tmpfs" or "ext4"
	loop string // its loop device, for ext4
}

// Tmpfs mounts megabytes of memory on a new folder below dir.
func Tmpfs(dir string, megabytes int) (*Volume, error) {
	at, err := os.MkdirTemp(dir, "volume-")
	if err != nil {
		return nil, fmt.Errorf("make a mount point: %w", err)
	}
	if err := unix.Mount("sonae-proof", at, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=755", megabytes)); err != nil {
		return nil, fmt.Errorf("mount tmpfs: %w", err)
	}
	return &Volume{Dir: at, Kind: "tmpfs"}, nil
}

// Ext4 mounts a file of megabytes in dir as ext4 on a new folder below dir.
func Ext4(dir string, megabytes int) (*Volume, error) {
	image := filepath.Join(dir, "volume.img")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return nil, fmt.Errorf("make an image: %w", err)
	}
	if err := os.Truncate(image, int64(megabytes)<<20); err != nil {
		return nil, fmt.Errorf("make an image: %w", err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	out, err := exec.Command("losetup", "--find", "--show", image).Output()
	if err != nil {
		return nil, fmt.Errorf("losetup: %w", err)
	}
	v := &Volume{Kind: "ext4", loop: strings.TrimSpace(string(out))}
	if v.Dir, err = os.MkdirTemp(dir, "volume-"); err == nil {
		err = unix.Mount(v.loop, v.Dir, "ext4", 0, "")
	}
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", v.loop, errors.Join(err, exec.Command("losetup", "-d", v.loop).Run()))
	}
	return v, os.RemoveAll(filepath.Join(v.Dir, "lost+found"))
}

// Close unmounts the volume, as soon as nobody uses it any more.
func (v *Volume) Close() error {
	if err := unix.Unmount(v.Dir, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount: %w", err)
	}
	if v.loop != "" {
		if err := exec.Command("losetup", "-d", v.loop).Run(); err != nil {
			return fmt.Errorf("losetup -d %s: %w", v.loop, err)
		}
	}
	return os.Remove(v.Dir)
}
