package main

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/hub"
)

// keepFlags say how long events are kept and how much a site may send. The
// returned function puts them into the configuration once they are parsed.
func keepFlags(flags *flag.FlagSet) func(*hub.Config) error {
	keep := flags.String("keep", "", "how many days events are kept, e.g. network=400,health=30; classes: access, network, log, health, other, case; 0: for good")
	site := flags.Int64("site-rate", 0, "bytes a second that one site may send in the long run; 0: 32 MiB")
	host := flags.Int64("host-rate", 0, "bytes a second that one host may send in the long run; 0: 2 MiB")
	return func(cfg *hub.Config) (err error) {
		cfg.Quotas.SiteRate, cfg.Quotas.HostRate = *site, *host
		if *site < 0 || *host < 0 {
			return fmt.Errorf("a rate cannot be negative")
		}
		cfg.Keep, err = retention(*keep)
		return err
	}
}

// retention reads how many days classes are kept; those that are not named are
// kept as long as by default.
func retention(text string) (archive.Retention, error) {
	keep := archive.DefaultRetention()
	classes := []archive.Class{archive.ClassAccess, archive.ClassNetwork, archive.ClassLog, archive.ClassHealth, archive.ClassOther, archive.ClassCase}
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		class, days, _ := strings.Cut(part, "=")
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 36525 || !slices.Contains(classes, archive.Class(class)) {
			return nil, fmt.Errorf("--keep %q: want class=days with a class of %v and 0 to 36525 days", part, classes)
		}
		keep[archive.Class(class)] = time.Duration(n) * 24 * time.Hour
	}
	return keep, nil
}
