package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/sonae/sonae/backup"
)

// importCommand makes a hub of a backup, in a new folder.
func importCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("sonae import", flag.ContinueOnError)
	flags.SetOutput(stderr)
	to := backup.Target{Log: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	flags.StringVar(&to.Dir, "dir", "", "folder for the hub; it must not exist, or be empty")
	flags.StringVar(&to.State, "state", "", "empty PostgreSQL database (postgres://…) for the state; without it a SQLite file in the folder is made")
	identity := flags.String("identity", "", "file with the private key for which the backup was made")
	passphrase := flags.String("passphrase-file", "", "file with the passphrase of the backup, instead of a private key")
	if status, ok := parsed(flags, args); !ok {
		return status
	}
	if flags.NArg() != 1 || to.Dir == "" || (*identity == "") == (*passphrase == "") {
		fmt.Fprintln(stderr, "usage: sonae import --dir NEWDIR [--state DATABASE] (--identity FILE | --passphrase-file FILE) BACKUP   (the flags first)")
		return 2
	}
	at, err := importFile(ctx, flags.Arg(0), *identity, *passphrase, to)
	if err != nil {
		complain(stderr, "import", err)
		return 1
	}
	fmt.Fprintf(stdout, "%s: %s\n", to.Dir, at.Format(time.RFC3339))
	fmt.Fprintln(stdout, "控えからハブを作りました。sonae verify で確かめてから、sonae serve で起動してください。元のハブと同時に動かさないでください。")
	fmt.Fprintln(stdout, "The hub is made from the backup. Check it with sonae verify, then start it with sonae serve. Never run it beside the old one.")
	return 0
}

func importFile(ctx context.Context, path, identity, passphrase string, to backup.Target) (at time.Time, err error) {
	from, parse := identity, backup.Identities
	if passphrase != "" {
		from, parse = passphrase, backup.PassphraseKey
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return at, err
	}
	key, err := parse(text)
	if err != nil {
		return at, err
	}
	f, err := os.Open(path)
	if err != nil {
		return at, err
	}
	defer f.Close()
	return backup.Import(ctx, bufio.NewReaderSize(f, 1<<20), key, to)
}
