// Command sonae-agent is the endpoint program: it enrols a machine with a hub,
// observes it, and carries out the hub's signed orders.
//
// In: arguments, the state directory. Out: exit status 0 when it did what was
// asked, 1 when it could not, 2 for unusable arguments. Always true: a secret
// that is given as an argument works once only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

const usage = `sonae-agent watches this machine for the hub of Sonae.

Usage:
  sonae-agent enroll --token T [--hub URL] [--name N] [--dir DIR]
                                 make this machine known to a hub, once
  sonae-agent run [--dir DIR] [--interface NAME]... [--ring MIB] [--spool MIB]
                  [--promiscuous] [--filter EXPR] [--queues N]
                  [--kernel-ring MIB] [--packets MIB] [--packets-age D]
                  [--packets-dir DIR] [--loss-alarm PERCENT]
                  [--guard DIR]... [--guard-backend B] [--guard-allow FILE]
                  [--gateway] [--eve FILE] [--eve-socket PATH] [--zeek FOLDER]
                  [--break-glass ACCOUNT] [--never-stop SERVICE]
                  [--settings FILE] [--telemetry ebpf|connector|proc]
                                 watch, report and obey until stopped; read
                                 what Suricata and Zeek write here
  sonae-agent status [--dir DIR] [--json]
                                 what the running agent does
  sonae-agent release [--dir DIR] [CODE]
                                 end an isolation, or what else is contained,
                                 with its printed code; without CODE it is
                                 asked for
  sonae-agent collect [--for D]  print what would be reported, as JSON lines,
                                 without any hub
  sonae-agent guard --watch DIR... [--backend ebpf|fanotify] [--allow FILE]
                    [--state DIR] [--json]
                                 stop ransomware in these folders and print
                                 what was stopped, without any hub
  sonae-agent service install|remove [--dir DIR]
                                 on Windows: run with the system
  sonae-agent version

DIR is /var/lib/sonae-agent, on Windows C:\ProgramData\Sonae\agent, when it is
not given. Exit status: 0 done,
1 could not be done, 2 unusable arguments.
`

// program is one invocation.
type program struct {
	in       io.Reader
	out, err io.Writer
	log      *slog.Logger
	level    *slog.LevelVar // of log
}

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// errUsage says that the arguments are unusable; the reason was printed.
var errUsage = errors.New("unusable arguments")

func run(args []string, in io.Reader, out, errs io.Writer) int {
	level := &slog.LevelVar{}
	p := program{in: in, out: out, err: errs, level: level, log: slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: level}))}
	if len(args) == 0 {
		fmt.Fprint(errs, usage)
		return 2
	}
	commands := map[string]func(context.Context, []string) error{
		"enroll": p.enroll, "run": p.run, "status": p.status, "release": p.release, "collect": p.collect, "guard": p.guardAlone,
		"service": p.service, "version": p.version,
	}
	name := args[0]
	switch name {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(out, usage)
		return 0
	}
	command, ok := commands[name]
	if !ok {
		fmt.Fprintf(errs, "sonae-agent: there is no command %q\n\n%s", name, usage)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err, ran := started(ctx, func(ctx context.Context) error { return command(ctx, args[1:]) })
	if !ran {
		err = command(ctx, args[1:])
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	fmt.Fprintf(errs, "sonae-agent: %s: %v\n", name, err)
	if say, ok := explain(err); ok {
		fmt.Fprintf(errs, "  %s\n  %s\n", say.en, say.ja)
	}
	return 1
}

// flags makes the flag set of a command; its --help prints the whole usage.
func (p program) flags(name string) (*flag.FlagSet, *string) {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(p.err)
	f.Usage = func() { fmt.Fprint(p.err, usage) }
	return f, f.String("dir", defaultDir(), "state directory")
}

// parse reads the flags and checks how many arguments follow.
func (p program) parse(f *flag.FlagSet, args []string, most int) error {
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if f.NArg() > most {
		fmt.Fprintf(p.err, "sonae-agent: %s: what is %q?\n\n%s", f.Name(), f.Arg(most), usage)
		return errUsage
	}
	return nil
}

func (p program) version(_ context.Context, args []string) error {
	f, _ := p.flags("version")
	if err := p.parse(f, args, 0); err != nil {
		return err
	}
	fmt.Fprintln(p.out, version())
	return nil
}

// version is what the build recorded: the module's version, or the revision
// that was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}
