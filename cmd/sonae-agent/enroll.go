package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// enroll makes this machine known to a hub.
func (p program) enroll(ctx context.Context, args []string) error {
	f, dir := p.flags("enroll")
	hub := f.String("hub", "", "address of the hub, when it is not the one in the token")
	text := f.String("token", "", "one-time token; - reads it from standard input")
	name := f.String("name", "", "name of this machine")
	if err := p.parse(f, args, 0); err != nil {
		return err
	}
	if *text == "" {
		fmt.Fprintf(p.err, "sonae-agent: enroll: --token is missing\n\n%s", usage)
		return errUsage
	}
	if *text == "-" {
		line, err := p.line()
		if err != nil {
			return err
		}
		*text = line
	}
	tok, err := wire.ParseToken(*text)
	if err != nil {
		return err
	}
	if *hub != "" {
		if err := wire.CheckHub(*hub); err != nil {
			fmt.Fprintf(p.err, "sonae-agent: enroll: --hub: %v\n", err)
			return errUsage
		}
		tok.Hub = *hub
	}
	if *name == "" {
		if *name, err = os.Hostname(); err != nil {
			return err
		}
	}
	id, err := link.Enroll(ctx, link.Enrolment{Dir: *dir, Token: tok, Name: *name, OS: system(), Agent: version(), Addresses: agent.Addresses()})
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "enrolled as %s at site %s with %s\n登録しました: 機器 %s、拠点 %s、ハブ %s\n", id.Host, id.Site, id.Hub, id.Host, id.Site, id.Hub)
	return nil
}

// line reads one line from standard input.
func (p program) line() (string, error) {
	s, err := bufio.NewReader(io.LimitReader(p.in, 8192)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", err
	}
	return strings.TrimSpace(s), nil
}

// system names this machine's system.
func system() string {
	name := "unknown system"
	if b, err := os.ReadFile("/etc/os-release"); err == nil {
		for l := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(l), "PRETTY_NAME="); ok {
				name = strings.Trim(v, `"'`)
			}
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		name += ", kernel " + strings.TrimSpace(string(b))
	}
	return name
}
