// Command guest is the only program of a guest that tests boot: it finds its
// disk, hashes it, listens on a port and says so on the serial console.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(); err != nil {
		fmt.Println("SONAE-DRILL-FAIL", err)
	}
	select {}
}

func run() error {
	if err := unix.Mount("dev", "/dev", "devtmpfs", 0, ""); err != nil {
		return fmt.Errorf("devtmpfs: %w", err)
	}
	console, err := os.OpenFile("/dev/console", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	os.Stdout = console
	fmt.Println("SONAE-DRILL kernel")
	if err := load(); err != nil {
		return err
	}
	disk, err := open("/dev/vda")
	if err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, disk); err != nil {
		return err
	}
	fmt.Printf("SONAE-DRILL disk %x\n", sum.Sum(nil))
	if err := network(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", ":5432")
	if err != nil {
		return err
	}
	fmt.Println("SONAE-DRILL ready")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		_, _ = c.Write([]byte("ready\n"))
	}
}

// load loads the modules. One that needs another one first is tried again.
func load() error {
	all, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	for before := -1; len(all) != before; {
		before = len(all)
		all = slices.DeleteFunc(all, func(path string) bool { return insert(path) == nil })
	}
	if len(all) > 0 {
		return fmt.Errorf("modules %v: %w", all, insert(all[0]))
	}
	return nil
}

func insert(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// open waits until the kernel has found a disk.
func open(path string) (f *os.File, err error) {
	for range 200 {
		if f, err = os.Open(path); err == nil {
			return f, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, err
}

// network gives the card the address that the emulator forwards to.
func network() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	for range 200 {
		r, err := unix.NewIfreq("eth0")
		if err != nil {
			return err
		}
		if err = r.SetInet4Addr([]byte{10, 0, 2, 15}); err != nil {
			return err
		}
		if err = unix.IoctlIfreq(s, unix.SIOCSIFADDR, r); err == nil {
			r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
			if err = unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r); err != nil {
				return err
			}
			n, err := unix.NewIfreq("eth0")
			if err != nil {
				return err
			}
			if err = n.SetInet4Addr([]byte{255, 255, 255, 0}); err != nil {
				return err
			}
			return unix.IoctlIfreq(s, unix.SIOCSIFNETMASK, n)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("no network card")
}
