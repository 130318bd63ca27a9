// Command sonae is the hub and its offline tools.
//
// In: a command and its flags. Out: a running hub, or a verdict on standard
// output with an exit status. Always true: 2 means unusable arguments.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/sonae/sonae/scan"
	"github.com/sonae/sonae/scan/rule"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// command is one of the program's tools.
type command struct {
	name string
	say  string
	run  func(ctx context.Context, args []string, stdout, stderr io.Writer) int
}

func commands() []command {
	return []command{
		{"serve", "run the hub; the first start prints a one-time set-up link", serve},
		{"scan", "run detection rules over logs and captures, without a hub", scan.Command},
		{"verify", "check a bag, a document, an archive, a ledger or a hub's folder", verify},
		{"backup", "write the running hub into one encrypted file", backupCommand},
		{"export", "write a hub that does not run into one encrypted file", exportCommand},
		{"import", "make a hub of such a file, in a new folder", importCommand},
		{"witness", "watch the ledger of a hub from another machine and cosign it", witnessCommand},
		{"drill", "play a practice incident on the running hub: sonae drill run NAME", drillCommand},
		{"dead", "list messages that a stage of the running hub could not use, or offer one again", deadCommand},
		{"rule", "list, count, test, check, update or pack detection rules", rule.Command},
		{"playbook", "check playbooks in CACAO v2 before they are imported: sonae playbook check FILE…", playbookCommand},
		{"duty", "take over the Cabinet Office's list of holidays: sonae duty holidays check|update --dir DIR FILE", dutyCommand},
		{"completion", "print a script with which bash, zsh or fish completes commands", completionCommand},
		{"version", "print the version", version},
	}
}

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(args) > 0 {
		for _, c := range commands() {
			if c.name == args[0] {
				return c.run(ctx, args[1:], stdout, stderr)
			}
		}
	}
	out, code := stderr, 2
	if len(args) > 0 && args[0] != "help" && args[0] != "-h" && args[0] != "--help" {
		fmt.Fprintf(stderr, "sonae: there is no command %q\n", args[0])
	}
	if len(args) > 0 && (args[0] == "help" || args[0] == "-h" || args[0] == "--help") {
		out, code = stdout, 0
	}
	fmt.Fprintln(out, "sonae (備え): usage: sonae COMMAND [flags]")
	for _, c := range commands() {
		fmt.Fprintf(out, "  %-10s %s\n", c.name, c.say)
	}
	return code
}
