package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/sonae/sonae/scan"
	"github.com/sonae/sonae/scan/rule"
	"github.com/sonae/sonae/scan/shell"
)

// completionCommand prints a script that lets a shell complete commands, flags
// and files.
func completionCommand(_ context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) != 1 || !slices.Contains(shell.Shells(), args[0]) {
		fmt.Fprintln(stderr, "usage: sonae completion bash|zsh|fish, for example: sonae completion bash > /etc/bash_completion.d/sonae")
		return 2
	}
	if err := shell.Write(stdout, args[0], "sonae", completed()); err != nil {
		complain(stderr, "completion", err)
		return 1
	}
	return 0
}

// completed are the commands with as much as can be told of each.
func completed() []shell.Command {
	var all []shell.Command
	for _, c := range commands() {
		one := shell.Command{Name: c.name, Say: c.say}
		switch c.name {
		case "scan":
			one.Flags = scan.Flags()
		case "rule":
			for _, name := range slices.Sorted(maps.Keys(rule.Tools())) {
				one.Below = append(one.Below, shell.Command{Name: name, Flags: rule.Tools()[name]})
			}
		case "completion":
			for _, name := range shell.Shells() {
				one.Below = append(one.Below, shell.Command{Name: name})
			}
		}
		all = append(all, one)
	}
	return all
}
