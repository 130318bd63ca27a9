package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/sonae/sonae/backup"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/hub"
)

// copying is what backup and export have in common.
type copying struct {
	command    string
	flags      *flag.FlagSet
	dir        string
	to         string
	recipients several
	passphrase string
	newKey     string
	stdout     io.Writer
	stderr     io.Writer
}

func newCopying(command string, stdout, stderr io.Writer) *copying {
	c := &copying{command: command, flags: flag.NewFlagSet("sonae "+command, flag.ContinueOnError), stdout: stdout, stderr: stderr}
	c.flags.SetOutput(stderr)
	c.flags.StringVar(&c.dir, "dir", hub.Default().Dir, "folder of the hub")
	c.flags.StringVar(&c.to, "to", "", "file to write; it must not exist")
	c.flags.Var(&c.recipients, "recipient", "public key (age1…) for which the file is encrypted; may be given several times")
	c.flags.StringVar(&c.passphrase, "passphrase-file", "", "file with the passphrase with which the file is encrypted, instead of a public key")
	c.flags.StringVar(&c.newKey, "new-key", "", "only make a key: write the private key into this file and print the public key")
	return c
}

// run parses args and makes the file; make writes the encrypted hub to w and
// says its digest.
func (c *copying) run(args []string, make func(order backup.Order, w io.Writer) (digest string, err error)) int {
	if status, ok := parsed(c.flags, args); !ok {
		return status
	}
	if c.flags.NArg() > 0 || c.to == "" && c.newKey == "" {
		fmt.Fprintf(c.stderr, "usage: sonae %s [--dir DIR] --to FILE (--recipient age1… | --passphrase-file FILE)\n       sonae %s --new-key FILE\n", c.command, c.command)
		return 2
	}
	err := c.work(make)
	if err != nil {
		complain(c.stderr, c.command, err)
		return 1
	}
	return 0
}

func (c *copying) work(make func(backup.Order, io.Writer) (string, error)) error {
	if c.newKey != "" {
		return c.key()
	}
	order := backup.Order{Recipients: c.recipients}
	if c.passphrase != "" {
		var err error
		if order.Passphrase, err = os.ReadFile(c.passphrase); err != nil {
			return err
		}
	}
	if _, err := order.Lock(); err != nil {
		return err
	}
	var digest string
	size, err := newFile(c.to, func(w io.Writer) (err error) {
		digest, err = make(order, w)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "%s: %d bytes\nSHA-256 %s\n", c.to, size, digest)
	fmt.Fprintln(c.stdout, "控えができました。このファイルと鍵は、ハブとは別の場所に、別々に保管してください。")
	fmt.Fprintln(c.stdout, "The backup is made. Keep the file and its key away from the hub, and apart from each other.")
	return nil
}

// key makes a key pair. The private key is for the safe, not for the hub.
func (c *copying) key() error {
	text, recipient, err := backup.NewIdentity()
	if err != nil {
		return err
	}
	if _, err := newFile(c.newKey, func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
		return err
	}
	fmt.Fprintln(c.stdout, recipient)
	return nil
}

// newFile writes a file that nobody but its owner can read. It has its name
// only when it is whole and on the disk, and replaces none.
func newFile(path string, write func(io.Writer) error) (size int64, err error) {
	if _, err := os.Lstat(path); err == nil {
		return 0, fault.New(fault.Conflict, "backup.exists", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.Remove(f.Name()) }() // has its name by then, or is nothing
	if err = write(f); err == nil {
		err = f.Sync()
	}
	info, e := f.Stat()
	if err = errors.Join(err, e, f.Close()); err != nil {
		return 0, err
	}
	if err := os.Link(f.Name(), path); err != nil { // never replaces
		return 0, err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return 0, err
	}
	return info.Size(), errors.Join(d.Sync(), d.Close())
}

// backupCommand asks the running hub for a backup, through the socket in its
// folder that only its owner can open.
func backupCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := newCopying("backup", stdout, stderr)
	return c.run(args, func(order backup.Order, w io.Writer) (string, error) { return askBackup(ctx, c.dir, order, w) })
}

func askBackup(ctx context.Context, dir string, order backup.Order, w io.Writer) (digest string, err error) {
	socket, closed, err := hub.ControlSocket(dir)
	if err != nil {
		return "", fault.New(fault.Missing, "backup.no-answer", dir).With(err)
	}
	defer func() { _ = closed() }() // opened for reading only
	body, err := json.Marshal(order)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://hub/backup", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return "", fault.New(fault.Missing, "backup.no-answer", dir).With(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 4096)) // the status alone is enough to fail
		return "", fmt.Errorf("the hub says: %s", strings.TrimSpace(string(text)))
	}
	sum := newSum(w)
	if _, err := io.Copy(sum, res.Body); err != nil {
		return "", fault.New(fault.Busy, "backup.cut").With(err)
	}
	if said := res.Trailer.Get(backup.DigestTrailer); said != sum.text() {
		return "", fault.New(fault.Busy, "backup.cut").With(fmt.Errorf("its digest is %q, of what arrived %q", said, sum.text()))
	}
	return sum.text(), nil
}
