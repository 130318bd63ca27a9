package vm

import (
	"cmp"
	"context"
	"slices"
)

// Machine is a virtual machine of this host, for people who decide.
type Machine struct {
	Name  string
	Runs  bool
	Links []Link
}

// Link is one of its interfaces. To is the network, the bridge or the card that
// it is connected to, else how.
type Link struct {
	MAC string
	To  string
	Up  bool
}

// List describes the virtual machines of a libvirt, by name.
func List(ctx context.Context, uri string) ([]Machine, error) {
	v := virsh{cmp.Or(uri, System)}
	all, err := v.domains(ctx)
	if err != nil {
		return nil, err
	}
	var out []Machine
	for _, d := range all {
		m, err := v.look(ctx, d.uuid)
		if err != nil {
			return nil, err
		}
		if m.gone { // in this moment
			continue
		}
		one := Machine{Name: d.name, Runs: m.runs}
		for i, l := range m.links {
			n := m.nics[i]
			one.Links = append(one.Links, Link{MAC: l.MAC, To: cmp.Or(n.Source.Network, n.Source.Bridge, n.Source.Dev, n.Type), Up: cmp.Or(l.Live, l.Config) == up})
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Machine) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}
