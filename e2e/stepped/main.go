// Command stepped is the hub with a clock that a file sets wrong.
//
// In: the flags of `sonae serve` that tests need, and -clock. Out: a running
// hub. Always true: apart from the clock it is the same hub.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sonae/sonae/hub"
)

func main() {
	cfg := hub.Default()
	flag.StringVar(&cfg.Dir, "dir", cfg.Dir, "folder for everything the hub keeps")
	flag.StringVar(&cfg.Listen, "listen", cfg.Listen, "address of pages and API (HTTPS)")
	flag.StringVar(&cfg.Local, "local", cfg.Local, "loopback address of pages and API (plain HTTP); empty: none")
	flag.StringVar(&cfg.Agents, "agents", cfg.Agents, "address of the agents' port")
	file := flag.String("clock", "", "file with the seconds by which the clock is wrong")
	flag.Parse()
	cfg.Now = func() time.Time {
		b, _ := os.ReadFile(*file) // no file: the clock is right
		seconds, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		return time.Now().Add(time.Duration(seconds) * time.Second)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "stepped:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg hub.Config) error {
	h, err := hub.New(ctx, cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	return h.Run(ctx, os.Stdout)
}
