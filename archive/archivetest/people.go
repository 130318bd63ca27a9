package archivetest

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// host is a machine by pattern.
type host struct {
	id, name, site, address string
	windows                 bool
}

// makeHosts gives the roles of machines in turn, so that each tenth of the
// table has all of them.
func makeHosts(n int) []host {
	roles := []struct {
		prefix, site string
		windows      bool
	}{
		{"w3e-pc", "si-hospital", true}, {"emr-app", "si-datacentre", false}, {"iji-pc", "si-hospital", true}, {"cc-pc", "si-callcentre", true},
		{"lx-web", "si-datacentre", false}, {"w5w-pc", "si-hospital", true}, {"ris-srv", "si-hospital", true}, {"cc-pbx", "si-callcentre", false},
		{"lab-pc", "si-hospital", true}, {"db-vm", "si-datacentre", false},
	}
	hosts := make([]host, n)
	for i := range hosts {
		r := roles[i%len(roles)]
		hosts[i] = host{
			id: "ho-" + hex16(mix(uint64(i) + 77))[:10], name: r.prefix + pad(i/len(roles)+1, 3), site: r.site, windows: r.windows,
			address: "10.20." + strconv.Itoa(i/200) + "." + strconv.Itoa(20+i%200),
		}
	}
	return hosts
}

func makeUsers() []string {
	groups := []string{"nurse", "dr", "iji", "cc", "lab", "ris"}
	users := []string{"svc-backup", "svc-monitor", "svc-emr", "adm-01", "adm-02", "svc-deploy"}
	for i := range 1200 {
		users = append(users, groups[i%len(groups)]+"-"+pad(i, 4))
	}
	return users
}

// makeAway gives addresses of ranges that are reserved for benchmarks and
// documentation (RFC 2544, RFC 5737), except 192.0.2.0/24.
func makeAway() []string {
	away := make([]string, 20_000)
	for i := range away {
		n := mix(uint64(i) + 3)
		if i%40 == 0 {
			away[i] = "203.0.113." + strconv.Itoa(i/40%250+1)
			continue
		}
		away[i] = "198." + strconv.Itoa(18+int(n&1)) + "." + strconv.Itoa(int(n>>8&255)) + "." + strconv.Itoa(int(n>>16&255))
	}
	return away
}

func pad(n, width int) string {
	s := strconv.Itoa(n)
	return strings.Repeat("0", max(0, width-len(s))) + s
}

// zipf is a table from which a random number picks a rank by Zipf's law; each
// rank stands in it at least once.
type zipf []uint16

func newZipf(n int, exponent float64) zipf {
	const size = 1 << 16
	sum := 0.0
	for i := range n {
		sum += math.Pow(float64(i+1), -exponent)
	}
	z := make(zipf, 0, size)
	for i := range n {
		share := int(math.Pow(float64(i+1), -exponent) / sum * float64(size-n))
		for range share + 1 {
			z = append(z, uint16(i))
		}
	}
	for len(z) < size {
		z = append(z, uint16(len(z)%n))
	}
	return z
}

func (z zipf) pick(random uint64) int { return int(z[random&0xffff]) }

// dice is a source of random numbers.
type dice struct{ *rand.PCG }

// below returns 0 ≤ x < n; the bias is below 2⁻³² n.
func (d dice) below(n int) int { return int(d.Uint64() >> 32 * uint64(n) >> 32) }

func (d dice) of(texts []string) string { return texts[d.below(len(texts))] }
