package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

const dutyUsage = "usage: sonae duty holidays check|update [--dir DIR | --state DATABASE] FILE   (the flags first; FILE is the Cabinet Office's syukujitsu.csv)"

// dutyCommand takes over the list of holidays that the Cabinet Office
// publishes, without a network: check only says what would change. It writes
// into the state, where a running hub sees it at once.
func dutyCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) < 2 || args[0] != "holidays" || args[1] != "check" && args[1] != "update" {
		fmt.Fprintln(stderr, dutyUsage)
		return 2
	}
	flags := flag.NewFlagSet("sonae duty holidays", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", "", "folder of the hub")
	db := flags.String("state", "", "PostgreSQL database (postgres://…) of the hub's rows, instead of the folder")
	source := flags.String("source", "", "where the file is from; its name when absent")
	if status, ok := parsed(flags, args[2:]); !ok {
		return status
	}
	if flags.NArg() != 1 || (*dir == "") == (*db == "") || *db != "" && !state.IsPostgres(*db) {
		fmt.Fprintln(stderr, dutyUsage)
		return 2
	}
	at := *db
	if at == "" {
		at = filepath.Join(*dir, "state.db")
	}
	if err := takeHolidays(ctx, at, flags.Arg(0), *source, args[1] == "update", stdout, stderr); err != nil {
		complain(stderr, "duty", err)
		return 1
	}
	return 0
}

func takeHolidays(ctx context.Context, at, file, source string, update bool, stdout, stderr io.Writer) error {
	text, err := readBounded(file)
	if err != nil {
		return err
	}
	days, err := duty.ParseHolidayCSV(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	desk, done, err := dutyDesk(ctx, at, stderr)
	if err != nil {
		return err
	}
	defer done()
	if !update {
		e, err := desk.PreviewHolidays(ctx, days)
		if err != nil && fault.Of(err) != fault.Conflict { // nothing new is an answer
			return err
		}
		showHolidays(stdout, e)
		return nil
	}
	if source == "" {
		source = filepath.Base(file)
	}
	sum := sha256.Sum256(text)
	e, err := desk.UpdateHolidays(ctx, duty.HolidayUpdate{By: console(), Source: source, SHA256: hex.EncodeToString(sum[:]), Days: days})
	if err != nil {
		return err
	}
	showHolidays(stdout, e)
	fmt.Fprintln(stdout, "祝日の資料を更新し、記録しました。これから計算する期限に使います。")
	fmt.Fprintln(stdout, "The holidays are updated and on record; deadlines are counted with them from now on.")
	return nil
}

// readBounded reads a file that ought to be small.
func readBounded(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 2<<20))
}

// dutyDesk opens the state of a hub, which must be there.
func dutyDesk(ctx context.Context, at string, stderr io.Writer) (*duty.Desk, func(), error) {
	if !state.IsPostgres(at) {
		if _, err := os.Stat(at); err != nil {
			return nil, nil, fmt.Errorf("no hub's folder: %w", err)
		}
	}
	rules, err := duty.LoadRules()
	if err != nil {
		return nil, nil, err
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	db, err := state.Open(ctx, at, log)
	if err != nil {
		return nil, nil, err
	}
	return duty.New(db, rules, time.Now, log), func() { _ = db.Close() }, nil // nothing is left to be written
}

func showHolidays(out io.Writer, e duty.HolidayEffect) {
	for _, c := range e.Changes {
		switch {
		case c.Was == "":
			fmt.Fprintf(out, "+ %s %s\n", c.Day, c.Is)
		case c.Is == "":
			fmt.Fprintf(out, "- %s %s\n", c.Day, c.Was)
		default:
			fmt.Fprintf(out, "~ %s %s → %s\n", c.Day, c.Was, c.Is)
		}
	}
	fmt.Fprintf(out, "違い / differences: %d\n", len(e.Changes))
	for _, m := range e.Moved {
		for _, c := range m.Clocks {
			fmt.Fprintf(out, "事案 / incident %d: %s / %s: %s → %s (%s)\n", m.No, c.Name("ja"), c.Name("en"), tokyoDay(c.From), tokyoDay(c.To), c.Basis)
		}
	}
}

func tokyoDay(t time.Time) string { return t.In(clock.Tokyo()).Format(time.DateOnly) }

// console names who works on the machine itself.
func console() string {
	if u, err := user.Current(); err == nil {
		return "console/" + u.Username
	}
	return "console"
}
