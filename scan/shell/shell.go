// Package shell writes completion scripts for bash, zsh and fish.
//
// In: the commands of a program with their flags. Out: a script that the shell
// reads. Always true: the script calls no program and asks no network; names
// that could mean something to a shell are refused, not quoted.
package shell

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/sonae/sonae/scan"
)

// Command is a command, or one below it.
type Command struct {
	Name  string
	Say   string // one line
	Flags []scan.Flag
	Below []Command
}

// Shells that Write knows.
func Shells() []string { return []string{"bash", "zsh", "fish"} }

var plain = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// Write writes the script of program for a shell.
func Write(w io.Writer, shell, program string, commands []Command) error {
	if err := checked(program, commands); err != nil {
		return err
	}
	switch shell {
	case "bash":
		return bash(w, program, commands)
	case "zsh":
		return zsh(w, program, commands)
	case "fish":
		return fish(w, program, commands)
	}
	return fmt.Errorf("no completion for %q: bash, zsh or fish", shell)
}

func checked(name string, commands []Command) error {
	if !plain.MatchString(name) {
		return fmt.Errorf("complete: %q is no name of a command", name)
	}
	for _, c := range commands {
		for _, f := range c.Flags {
			if !plain.MatchString(f.Name) {
				return fmt.Errorf("complete: %q is no name of a flag", f.Name)
			}
		}
		if err := checked(c.Name, c.Below); err != nil {
			return err
		}
	}
	return nil
}

// path is a command with those above it.
type path struct {
	names []string
	Command
}

// all lists the commands, those below after their own.
func all(above []string, commands []Command) (out []path) {
	for _, c := range commands {
		names := append(append([]string(nil), above...), c.Name)
		out = append(out, path{names, c})
		out = append(out, all(names, c.Below)...)
	}
	return out
}

// names are the words that may follow: commands below, else flags.
func names(below []Command) string {
	var list []string
	for _, c := range below {
		list = append(list, c.Name)
	}
	return strings.Join(list, " ")
}

func flags(list []scan.Flag) string {
	var out []string
	for _, f := range list {
		out = append(out, "--"+f.Name)
	}
	return strings.Join(append(out, "--help"), " ")
}

func bash(w io.Writer, program string, commands []Command) error {
	var b strings.Builder
	fn := "_" + strings.ReplaceAll(program, "-", "_")
	fmt.Fprintf(&b, "# completion of %s for bash: put it into /etc/bash_completion.d/%s\n%s() {\n", program, program, fn)
	b.WriteString("\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at='' w\n\tCOMPREPLY=()\n")
	b.WriteString("\tfor w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n\t\tcase \"$at/$w\" in\n")
	every := all(nil, commands)
	for _, p := range every {
		above := strings.Join(p.names[:len(p.names)-1], "/")
		fmt.Fprintf(&b, "\t\t%s/%s) at=%s ;;\n", above, p.Name, strings.Join(p.names, "/"))
	}
	b.WriteString("\t\tesac\n\tdone\n\tcase \"$at $prev\" in\n")
	for _, p := range every {
		for _, f := range p.Flags {
			at := strings.Join(p.names, "/")
			switch {
			case f.Values != nil:
				fmt.Fprintf(&b, "\t\"%s --%s\") COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", at, f.Name, strings.Join(f.Values, " "))
			case f.Path:
				fmt.Fprintf(&b, "\t\"%s --%s\") COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", at, f.Name)
			case f.Arg != "":
				fmt.Fprintf(&b, "\t\"%s --%s\") return ;;\n", at, f.Name)
			}
		}
	}
	fmt.Fprintf(&b, "\tesac\n\tcase \"$at\" in\n\t'') COMPREPLY=($(compgen -W '%s' -- \"$cur\")) ;;\n", names(commands))
	for _, p := range every {
		at := strings.Join(p.names, "/")
		if len(p.Below) > 0 {
			fmt.Fprintf(&b, "\t%s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")) ;;\n", at, names(p.Below))
			continue
		}
		fmt.Fprintf(&b, "\t%s) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W '%s' -- \"$cur\")); else COMPREPLY=($(compgen -f -- \"$cur\")); fi ;;\n", at, flags(p.Flags))
	}
	fmt.Fprintf(&b, "\tesac\n}\ncomplete -o filenames -F %s %s\n", fn, program)
	_, err := io.WriteString(w, b.String())
	return err
}

// quoted is text inside single quotes, as all three shells take it where there
// is no single quote and no backslash in it.
func quoted(s string) string {
	return "'" + strings.NewReplacer("'", "’", `\`, "/", "[", "(", "]", ")", ":", ",").Replace(s) + "'"
}

func zsh(w io.Writer, program string, commands []Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "#compdef %s\n# completion of %s for zsh: put it as _%s into a folder of $fpath\n", program, program, program)
	var group func(fn string, commands []Command)
	group = func(fn string, commands []Command) {
		fmt.Fprintf(&b, "%s() {\n\tlocal -a commands=(\n", fn)
		for _, c := range commands {
			fmt.Fprintf(&b, "\t\t%s\n", "'"+c.Name+":"+strings.TrimPrefix(quoted(c.Say), "'"))
		}
		b.WriteString("\t)\n\tif (( CURRENT == 2 )); then\n\t\t_describe command commands\n\t\treturn\n\tfi\n\tlocal name=$words[2]\n\tshift words\n\t(( CURRENT-- ))\n\tcase $name in\n")
		for _, c := range commands {
			if len(c.Below) > 0 {
				fmt.Fprintf(&b, "\t%s) %s_%s ;;\n", c.Name, fn, c.Name)
				continue
			}
			fmt.Fprintf(&b, "\t%s) _arguments %s '*:file:_files' ;;\n", c.Name, zshFlags(c.Flags))
		}
		b.WriteString("\tesac\n}\n")
		for _, c := range commands {
			if len(c.Below) > 0 {
				group(fn+"_"+c.Name, c.Below)
			}
		}
	}
	group("_"+program, commands)
	fmt.Fprintf(&b, "_%s \"$@\"\n", program)
	_, err := io.WriteString(w, b.String())
	return err
}

func zshFlags(list []scan.Flag) string {
	var out []string
	for _, f := range list {
		spec := "--" + f.Name
		switch {
		case f.Values != nil:
			spec += ":" + f.Arg + ":(" + strings.Join(f.Values, " ") + ")"
		case f.Path:
			spec += ":" + f.Arg + ":_files"
		case f.Arg != "":
			spec += ":" + f.Arg + ":"
		}
		out = append(out, "'*"+spec+"'")
	}
	return strings.Join(append(out, "'--help'"), " ")
}

func fish(w io.Writer, program string, commands []Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# completion of %s for fish: put it into ~/.config/fish/completions/%s.fish\n", program, program)
	for _, c := range commands {
		fmt.Fprintf(&b, "complete -c %s -n __fish_use_subcommand -f -a %s -d %s\n", program, c.Name, quoted(c.Say))
	}
	for _, p := range all(nil, commands) {
		at := ""
		for _, n := range p.names {
			at += "; and __fish_seen_subcommand_from " + n
		}
		at = strings.TrimPrefix(at, "; and ")
		for _, c := range p.Below {
			fmt.Fprintf(&b, "complete -c %s -n '%s' -f -a %s -d %s\n", program, at, c.Name, quoted(c.Say))
		}
		for _, f := range p.Flags {
			fmt.Fprintf(&b, "complete -c %s -n '%s' -l %s%s\n", program, at, f.Name, fishArg(f))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func fishArg(f scan.Flag) string {
	switch {
	case f.Values != nil:
		return " -x -a " + quoted(strings.Join(f.Values, " "))
	case f.Path:
		return " -r -F"
	case f.Arg != "":
		return " -x"
	}
	return ""
}
