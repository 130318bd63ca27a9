package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sonae/sonae/bus"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/hub"
)

// leafFlags are those of hubs at several sites. The returned function puts them
// into the configuration once they are parsed; out is told the key of a leaf.
func leafFlags(flags *flag.FlagSet, out io.Writer) func(*hub.Config) error {
	var l bus.Leaf
	flags.StringVar(&l.URL, "leaf", "", "main hub to hand events on to: tls://HOST:PORT, its --leaf-listen")
	flags.StringVar(&l.Credentials, "leaf-key", "leaf.key", "file with the key of this leaf; made when it is not there")
	flags.StringVar(&l.CA, "leaf-ca", "", "PEM file with the main hub's authority (ca.pem in its folder)")
	flags.StringVar(&l.Site, "leaf-site", "", "id of this site at the main hub")
	listen := flags.String("leaf-listen", "", "address where hubs of other sites hand their events on; empty: none")
	sites := flags.String("leaf-sites", "", "file with a line for each such hub: its public key and the id of its site")
	return func(cfg *hub.Config) (err error) {
		if l.URL != "" {
			if l.Site == "" || l.CA == "" {
				return fault.New(fault.Invalid, "config.leaf")
			}
			public, err := bus.LeafKey(l.Credentials)
			if err != nil {
				return err
			}
			fmt.Fprintln(out, "leaf key / 拠点の鍵:", public)
			cfg.Leaf = &l
		}
		if *listen == "" {
			return nil
		}
		cfg.Leaves.Addr = *listen
		cfg.Leaves.Sites, err = leafSites(*sites)
		return err
	}
}

// leafSites reads who may hand on, and for which site.
func leafSites(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read who may hand on: %w", err)
	}
	defer f.Close()
	sites := map[string]string{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		if len(words) != 2 || sites[words[0]] != "" {
			return nil, fmt.Errorf("%s:%d: want a public key and the id of a site, each key once", path, n)
		}
		sites[words[0]] = words[1]
	}
	return sites, lines.Err()
}
