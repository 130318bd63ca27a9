// Command backer is the agent with its part that backs up and no other, so that
// a measurement of backups measures those alone.
//
// In: the folder of an enrolled machine, a restic, the hub's signed orders; with
// -restore one Asked as JSON on standard input, which no order names. Out: one
// line "begun" and one Used as JSON for each job. Always true: what it does is
// done by the agent's own packages over its own link.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/agent/backup"
	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/protect/job"
)

// Asked is a restore with the token of a pass.
type Asked struct{ Token, Snapshot, Target string }

// Used is what one job used of this program and of its restic.
type Used struct {
	Own, Restic         float64 // processor seconds
	OwnPeak, ResticPeak int64   // resident memory, bytes
	Job                 job.Result
}

func main() {
	dir := flag.String("dir", "", "folder of the enrolled machine")
	restic := flag.String("restic", "restic", "restic that is run")
	restore := flag.Bool("restore", false, "do one restore and end")
	flag.Parse()
	debug.SetGCPercent(50) // as cmd/sonae-agent does
	if err := run(context.Background(), *dir, *restic, *restore); err != nil {
		fmt.Fprintln(os.Stderr, "backer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir, restic string, restore bool) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	id, err := link.Load(dir)
	if err != nil {
		return err
	}
	client, err := link.Dial(dir, id, log)
	if err != nil {
		return err
	}
	defer client.Close()
	granted := filepath.Join(dir, "granted")
	cfg := backup.Config{Dir: filepath.Join(dir, "backup"), Hooks: filepath.Join(dir, "hooks"), Restic: []string{restic}, Host: id.Host,
		Link: noting{client, granted}, Now: time.Now, Log: log}
	if restore {
		return bringBack(ctx, cfg, client, granted)
	}
	a, err := agent.New(agent.Config{Dir: dir, Version: "bench"}, client, time.Now, log)
	if err != nil {
		return err
	}
	cfg.Ahead = a.Ahead
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until it ends
		stop()
	}()
	return errors.Join(a.Run(ctx, agent.Parts{Backup: counted{backup.New(cfg)}}), a.Close())
}

// noting keeps the password that the hub granted, for a restore that no order
// names.
type noting struct {
	*link.Client
	file string
}

// Job asks the hub.
func (n noting) Job(ctx context.Context, id string) (job.Grant, error) {
	g, err := n.Client.Job(ctx, id)
	if err == nil {
		err = os.WriteFile(n.file, []byte(g.Secret.Password), 0o600)
	}
	return g, err
}

// bringBack does one restore.
func bringBack(ctx context.Context, cfg backup.Config, client *link.Client, granted string) error {
	var q Asked
	if err := json.NewDecoder(os.Stdin).Decode(&q); err != nil {
		return err
	}
	password, err := os.ReadFile(granted)
	if err != nil {
		return err
	}
	j := job.Job{ID: "bench", Host: cfg.Host, Kind: job.Restore, Restore: &job.Restoring{Snapshot: q.Snapshot, Target: q.Target}}
	body, digest, err := job.Pack(j)
	if err != nil {
		return err
	}
	cfg.Link = granting{client, job.Grant{Job: body, Secret: job.Secret{Password: string(password), Path: "/restic/" + cfg.Host + "/", User: "restore", Token: q.Token}}}
	counted{backup.New(cfg)}.Do(ctx, order.Order{ID: "bench", Kind: order.Restore, Host: cfg.Host, Action: j.ID, Digest: digest})
	return nil
}

// granting is a link with a job of its own.
type granting struct {
	*link.Client
	grant job.Grant
}

// Job is the one that is granted.
func (g granting) Job(context.Context, string) (job.Grant, error) { return g.grant, nil }

// Result tells the hub nothing: it knows of no such job.
func (g granting) Result(context.Context, order.Result) error { return nil }

// counted tells what each job used.
type counted struct{ *backup.Runner }

// Do does the job.
func (c counted) Do(ctx context.Context, o order.Order) order.Result {
	before, err := used()
	fmt.Println("begun")
	answer := c.Runner.Do(ctx, o)
	u, again := used()
	u.Own, u.Restic = u.Own-before.Own, u.Restic-before.Restic
	var told job.Report
	err = errors.Join(err, again, json.Unmarshal(answer.Report, &told))
	if err == nil {
		u.Job = *told.Result
		err = json.NewEncoder(os.Stdout).Encode(u)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "backer:", err)
	}
	return answer
}

// used is what was used until now.
func used() (u Used, err error) {
	var own, others unix.Rusage
	if err := errors.Join(unix.Getrusage(unix.RUSAGE_SELF, &own), unix.Getrusage(unix.RUSAGE_CHILDREN, &others)); err != nil {
		return u, err
	}
	seconds := func(r unix.Rusage) float64 { return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9 }
	u.Own, u.Restic, u.ResticPeak = seconds(own), seconds(others), others.Maxrss<<10
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			u.OwnPeak = kib << 10
			return u, err
		}
	}
	return u, errors.New("the kernel does not tell the peak of memory")
}
