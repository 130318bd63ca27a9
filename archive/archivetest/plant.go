package archivetest

import (
	"cmp"
	"slices"
)

// What is planted and stands nowhere else.
const (
	Command     = "Invoke-Mimikatz"                                                         // in command lines and original lines of Windows
	Phrase      = "患者情報の一括出力が要求されました"                                                       // in original lines of Linux
	RareAddress = "192.0.2.77"                                                              // destination of flows, and once in an original line
	RareHash    = "SHA256=5a17e3b2c9d04f6188aa02d7e1f3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5" // of a program
	RareUser    = "kizuki-9912"                                                             // logs in over SSH
	FailedUser  = "svc-fumei"                                                               // Windows log-ons that fail (4625)

	AbsentHash    = "SHA256=00000000000000000000000000000000000000000000000000000000000000aa" // nowhere
	AbsentText    = "nowhere-to-be-found"                                                     // nowhere
	FailedSources = 11                                                                        // distinct source addresses of FailedUser's log-ons
	FailedCode    = "4625"                                                                    // EventID of a failed Windows log-on
)

// variants are other ways to write Command.
var variants = []string{"iNvOkE-mImIkAtZ", "INVOKE-MIMIKATZ", "invoke-mimikatz"}

// Truth counts what was planted.
type Truth struct {
	Events        int64 // all
	Exact         int64 // events with Command as it is written
	AnyCase       int64 // events with Command in any spelling, Exact included
	Phrase        int64 // events with Phrase
	AddressColumn int64 // events with RareAddress as destination address
	AddressText   int64 // events with RareAddress in the original line only
	Hash          int64 // events with RareHash
	User          int64 // events with RareUser
	Failed        int64 // failed log-ons of FailedUser, from FailedSources addresses
}

// Truth returns the counts of what was planted among all batches.
func (g *Generator) Truth() Truth { return g.truth }

type needle int

const (
	nothing needle = iota
	exact
	mixed
	phrase
	addressColumn
	addressText
	hash
	rareUser
	failed
)

// plant is one needle at one event of a batch.
type plant struct {
	event, nth int
	what       needle
}

// plant spreads what is planted evenly over the batches, each needle on a host
// of the system it belongs to. The counts are the same whatever the number of
// events: a needle gets rarer as the haystack grows.
func (g *Generator) plant() {
	g.planted = map[int][]plant{}
	place := func(what needle, count int, windows bool) int64 {
		for i := range count {
			n := (i*g.Batches() + g.Batches()/2) / count % g.Batches()
			for tries := 0; g.hostOf(n).windows != windows && tries < g.Batches(); tries++ {
				n = (n + 1) % g.Batches()
			}
			at := int(mix(uint64(what)<<32+uint64(i)) % uint64(g.o.PerBatch))
			for slices.ContainsFunc(g.planted[n], func(p plant) bool { return p.event == at }) {
				at = (at + 1) % g.o.PerBatch
			}
			g.planted[n] = append(g.planted[n], plant{at, i, what})
		}
		return int64(count)
	}
	t := Truth{
		Events: int64(g.o.Events), Exact: place(exact, 12, true), Phrase: place(phrase, 23, false), Hash: place(hash, 5, true), User: place(rareUser, 9, false),
		AddressColumn: place(addressColumn, 17, true), AddressText: place(addressText, 1, false), Failed: place(failed, 37, true),
	}
	t.AnyCase = t.Exact + place(mixed, 7, true)
	for _, p := range g.planted {
		slices.SortFunc(p, func(x, y plant) int { return cmp.Compare(x.event, y.event) })
	}
	g.truth = t
}
