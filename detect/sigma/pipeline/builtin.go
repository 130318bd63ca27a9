package pipeline

import (
	"embed"
	"fmt"
	"path"
	"strings"
)

//go:embed builtin/*.yml
var builtin embed.FS

// Builtin returns the pipelines that come with Sonae, by their name. They are
// meant as sigma.Variants, beside the rules as written: a rule that none of
// them changes is not loaded twice.
//
//	ecs-windows     Windows events in the form of the Elastic Common Schema
//	windows-audit   what Sysmon rules ask for, in the Security log: 4688, 4657, 5156
//	windows-sysmon  the other way round: rules on 4688, 4657 and 5156, on Sysmon
//	auditd          Linux rules on records of auditd
//	zeek            dns, proxy, webserver and firewall rules on logs of Zeek
//	suricata        the same on EVE records of Suricata
func Builtin() (map[string]*Pipeline, error) {
	files, err := builtin.ReadDir("builtin")
	if err != nil {
		return nil, fmt.Errorf("built-in pipelines: %w", err)
	}
	out := map[string]*Pipeline{}
	for _, f := range files {
		data, err := builtin.ReadFile(path.Join("builtin", f.Name()))
		if err != nil {
			return nil, fmt.Errorf("built-in pipelines: %w", err)
		}
		p, err := Parse("builtin/"+f.Name(), data)
		if err != nil {
			return nil, fmt.Errorf("built-in pipelines: %w", err)
		}
		out[strings.TrimSuffix(f.Name(), ".yml")] = p
	}
	return out, nil
}
