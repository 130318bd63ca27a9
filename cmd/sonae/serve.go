package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/sonae/sonae/hub"
)

func serve(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg := hub.Default()
	flags := flag.NewFlagSet("sonae serve", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.Dir, "dir", cfg.Dir, "folder for everything the hub keeps")
	flags.StringVar(&cfg.State, "state", "", "PostgreSQL database for the state (postgres://…; the password belongs into PGPASSFILE); empty: SQLite in the folder")
	flags.StringVar(&cfg.Listen, "listen", cfg.Listen, "address of pages and API (HTTPS)")
	flags.StringVar(&cfg.Local, "local", cfg.Local, "loopback address of pages and API (plain HTTP); empty: none")
	flags.StringVar(&cfg.Agents, "agents", cfg.Agents, "address of the agents' port")
	flags.StringVar(&cfg.Passphrase, "passphrase", "", "file with the passphrase that encrypts the keys at rest")
	flags.StringVar(&cfg.TSA, "tsa", "", "address of an RFC 3161 time stamp authority")
	flags.StringVar(&cfg.TSARoots, "tsa-roots", "", "PEM file with the authority's root certificates")
	flags.StringVar(&cfg.Clamd, "clamd", "", "socket of ClamAV, which looks at evidence: unix:/run/clamav/clamd.ctl or tcp:host:port")
	flags.StringVar(&cfg.Browser, "browser", "", "Chromium that prints documents as PDF, by its path; empty: an installed one; off: none")
	flags.Uint64Var(&cfg.MinFree, "min-free", cfg.MinFree, "bytes the disk must have left to take in events")
	witnesses := witnessFlags(flags)
	shared, leaves := sharedFlags(flags), leafFlags(flags, stdout)
	keep, sensors := keepFlags(flags), sensorFlags(flags)
	names := flags.String("names", "", "further host names and addresses for the certificate, separated by commas")
	verbose := flags.Bool("verbose", false, "log more")
	if status, ok := parsed(flags, args); !ok {
		return status
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "sonae serve: unexpected %q\n", flags.Arg(0))
		return 2
	}
	if *names != "" {
		cfg.Names = strings.Split(*names, ",")
	}
	for _, set := range []func(*hub.Config) error{shared, leaves, keep, sensors} {
		if err := set(&cfg); err != nil {
			complain(stderr, "serve", err)
			return 2
		}
	}
	var err error
	if cfg.Witnesses, err = witnesses(); err != nil {
		complain(stderr, "serve", err)
		return 2
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	h, err := hub.New(ctx, cfg, log)
	if err != nil {
		complain(stderr, "serve", err)
		return 1
	}
	if err := h.Run(ctx, stdout); err != nil {
		complain(stderr, "serve", err)
		return 1
	}
	return 0
}

func version(_ context.Context, _ []string, stdout, _ io.Writer) int {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		fmt.Fprintln(stdout, "sonae")
		return 0
	}
	fmt.Fprintln(stdout, "sonae", info.Main.Version, info.GoVersion)
	return 0
}
