package vm

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Limits of what is read from libvirt.
const (
	toolTime = 30 * time.Second
	maxOut   = 4 << 20 // bytes; a description has some ten thousand
	maxVMs   = 1000
)

// virsh asks the libvirt of an address.
type virsh struct{ uri string }

// domain is a virtual machine by its names.
type domain struct{ uuid, name string }

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// domains lists all of the machines, whether they run or not.
func (v virsh) domains(ctx context.Context) ([]domain, error) {
	out, err := v.run(ctx, "list", "--all", "--uuid", "--name")
	if err != nil {
		return nil, err
	}
	return domainsIn(out)
}

func domainsIn(list string) (all []domain, _ error) {
	for line := range strings.Lines(list) {
		uuid, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if uuid == "" {
			continue
		}
		if !uuidForm.MatchString(uuid) || len(all) == maxVMs {
			return nil, fmt.Errorf("list of virtual machines: %d of them, then %.80q", len(all), line)
		}
		all = append(all, domain{strings.ToLower(uuid), strings.TrimSpace(name)})
	}
	return all, nil
}

// machine is a virtual machine as it is.
type machine struct {
	gone  bool
	runs  bool
	links []link
	nics  []nic
}

// nic is an interface as libvirt describes it.
type nic struct {
	Type   string `xml:"type,attr"`
	MAC    hw     `xml:"mac"`
	Source struct {
		Network string `xml:"network,attr"`
		Bridge  string `xml:"bridge,attr"`
		Dev     string `xml:"dev,attr"`
	} `xml:"source"`
	Link struct {
		State string `xml:"state,attr"`
	} `xml:"link"`
}

type hw struct {
	Address string `xml:"address,attr"`
}

func (n nic) state() state {
	if n.Link.State == string(down) {
		return down
	}
	return up
}

// look describes a machine; one that is not there is gone.
func (v virsh) look(ctx context.Context, uuid string) (machine, error) {
	running, err := v.has(ctx, uuid, "list", "--uuid")
	if err != nil {
		return machine{}, err
	}
	kept, err := v.has(ctx, uuid, "list", "--all", "--persistent", "--uuid")
	if err != nil {
		return machine{}, err
	}
	m := machine{gone: !running && !kept, runs: running}
	if running {
		if err := v.describe(ctx, uuid, &m, func(l *link, s state) { l.Live = s }); err != nil {
			return machine{}, err
		}
	}
	if kept {
		if err := v.describe(ctx, uuid, &m, func(l *link, s state) { l.Config = s }, "--inactive"); err != nil {
			return machine{}, err
		}
	}
	return m, nil
}

func (v virsh) has(ctx context.Context, uuid string, args ...string) (bool, error) {
	out, err := v.run(ctx, args...)
	return slices.Contains(strings.Fields(out), uuid), err
}

func (v virsh) describe(ctx context.Context, uuid string, m *machine, put func(*link, state), which ...string) error {
	out, err := v.run(ctx, append([]string{"dumpxml", "--domain", uuid}, which...)...)
	if err != nil {
		return err
	}
	nics, err := interfaces([]byte(out))
	if err != nil {
		return fmt.Errorf("virtual machine %s: %w", uuid, err)
	}
	for _, n := range nics {
		i := slices.IndexFunc(m.links, func(l link) bool { return l.MAC == n.MAC.Address })
		if i < 0 {
			i = len(m.links)
			m.links, m.nics = append(m.links, link{MAC: n.MAC.Address}), append(m.nics, n)
		}
		put(&m.links[i], n.state())
	}
	return nil
}

// interfaces reads those of a description of libvirt, with hardware addresses
// in one form.
func interfaces(description []byte) ([]nic, error) {
	var d struct {
		XMLName xml.Name `xml:"domain"`
		NICs    []nic    `xml:"devices>interface"`
	}
	if err := xml.Unmarshal(description, &d); err != nil {
		return nil, fmt.Errorf("description: %w", err)
	}
	for i := range d.NICs {
		mac, err := net.ParseMAC(d.NICs[i].MAC.Address)
		if err != nil {
			return nil, fmt.Errorf("interface %d: %w", i, err)
		}
		d.NICs[i].MAC.Address = mac.String()
	}
	return d.NICs, nil
}

// wanted are the links that are to be cut: all, or that of one interface.
func (m machine) wanted(mac string) ([]link, error) {
	links := m.only(mac)
	if len(links) == 0 {
		return nil, errors.New(noNIC)
	}
	for _, n := range m.nics { // libvirt gives a card of the host away and can do nothing more with it
		if n.Type == "hostdev" && (mac == "" || n.MAC.Address == mac) {
			return nil, errors.New(passed)
		}
	}
	return links, nil
}

// only is the link of one interface, or all.
func (m machine) only(mac string) []link {
	return slices.DeleteFunc(slices.Clone(m.links), func(l link) bool { return mac != "" && l.MAC != mac })
}

// set brings a link to what it is to be, as far as it is otherwise.
func (v virsh) set(ctx context.Context, uuid string, is, to link) error {
	if is.Config != "" && is.Config != to.Config {
		if err := v.setOne(ctx, uuid, is.MAC, to.Config, "--config"); err != nil {
			return err
		}
	}
	if is.Live != "" && is.Live != to.Live {
		return v.setOne(ctx, uuid, is.MAC, to.Live)
	}
	return nil
}

func (v virsh) setOne(ctx context.Context, uuid, mac string, to state, which ...string) error {
	_, err := v.run(ctx, append([]string{"domif-setlink", "--domain", uuid, "--interface", mac, "--state", string(to)}, which...)...)
	return err
}

// run starts virsh. Nothing that people named is an argument of it.
func (v virsh) run(ctx context.Context, args ...string) (string, error) {
	ctx, stop := context.WithTimeout(ctx, toolTime)
	defer stop()
	cmd := exec.CommandContext(ctx, "virsh", append([]string{"--connect", v.uri, "--quiet"}, args...)...)
	cmd.Env = append(cmd.Environ(), "LC_ALL=C.UTF-8")
	out, said := bounded{left: maxOut}, bounded{left: 4096}
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("virsh %s: %w: %s", args[0], err, strings.TrimSpace(said.String()))
	}
	if out.over {
		return "", fmt.Errorf("virsh %s: more than %d bytes", args[0], maxOut)
	}
	return out.String(), nil
}

// bounded keeps what comes first.
type bounded struct {
	bytes.Buffer
	left int
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.over = b.over || n < len(p)
	b.left -= n
	b.Buffer.Write(p[:n]) // never fails
	return len(p), nil
}
