package main

import (
	"flag"
	"fmt"
	"net/netip"
	"strings"

	"github.com/sonae/sonae/hub"
)

// sensorFlags say which other sensors the hub listens to, and what is one's
// own. The returned function puts them into the configuration once they are
// parsed.
func sensorFlags(flags *flag.FlagSet) func(*hub.Config) error {
	var s hub.Sensors
	var exporters, inside, domains several
	flags.StringVar(&s.Site, "sensor-site", "", "id of the site that the sensors below belong to")
	flags.Var((*several)(&s.EVE), "eve", "file that Suricata writes (eve.json), as many as wanted")
	flags.Var((*several)(&s.Sockets), "eve-socket", "socket that Suricata connects to, dgram:PATH for unix_dgram")
	flags.Var((*several)(&s.Zeek), "zeek", "folder in which Zeek writes its logs")
	flags.StringVar(&s.Flows, "flows", "", "UDP address for NetFlow 5 and 9, IPFIX and sFlow, e.g. :2055; empty: none")
	flags.Var(&exporters, "exporter", "address or network that may send flows, as many as wanted; nobody else is read")
	flags.Var(&inside, "inside", "own network beside the private ones, which no threat list may name, as many as wanted")
	flags.Var(&domains, "own-domain", "own domain, which no threat list may name, as many as wanted")
	return func(cfg *hub.Config) (err error) {
		if s.Exporters, err = networks("exporter", exporters); err != nil {
			return err
		}
		if s.Inside, err = networks("inside", inside); err != nil {
			return err
		}
		cfg.Sensors = s
		for _, d := range domains {
			cfg.Domains = append(cfg.Domains, strings.ToLower(strings.Trim(d, ".")))
		}
		return nil
	}
}

// networks reads addresses and networks.
func networks(name string, list []string) (out []netip.Prefix, err error) {
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("--%s %q: want an address or a network such as 192.0.2.0/24", name, text)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p.Masked())
	}
	return out, nil
}
