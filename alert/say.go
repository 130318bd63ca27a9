package alert

import (
	"fmt"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sonae/sonae/detect"
)

// Say fills the placeholders of one of the rule's texts with the facts of this
// alert: {host}, {site}, {peers}, {count}, {sent}, {received}, {process},
// {user}, {rule}. names turns ids of hosts and sites into what people call
// them: keyed by the id itself, or by "host" and "site". What is not known is
// said to be unknown; a placeholder that does not exist stays as it is, so
// that a mistake in a rule is seen. Without the language, the other one is used.
func (a Alert) Say(t detect.Text, lang string, names map[string]string) string {
	text, ok := t[lang]
	if !ok {
		for _, lang = range []string{"ja", "en"} {
			if text, ok = t[lang]; ok {
				break
			}
		}
	}
	if lang != "ja" {
		lang = "en"
	}
	words := spoken[lang]
	return strings.NewReplacer(
		"{host}", named(names, a.Host, "host", words.unknown),
		"{site}", named(names, a.Site, "site", words.unknown),
		"{peers}", words.list(a.peerNames(), a.Addresses),
		"{count}", strconv.Itoa(a.Count),
		"{sent}", Bytes(a.Sent),
		"{received}", Bytes(a.Received),
		"{process}", words.list(a.programs(), 0),
		"{user}", words.list(a.users(), 0),
		"{rule}", a.Rule.ID,
	).Replace(text)
}

// words are the few words that a sentence needs around values.
type words struct {
	unknown string
	between string
	more    string // with %d
}

var spoken = map[string]words{
	"ja": {"不明", "、", "%s ほか %d か所"},
	"en": {"unknown", ", ", "%s and %d more"},
}

// listed is how many names a sentence lists before it only counts.
const listed = 3

// list joins the first names; all is how many there are in truth, when more.
func (w words) list(names []string, all int) string {
	if len(names) == 0 {
		return w.unknown
	}
	all = max(all, len(names))
	shown := names[:min(len(names), listed)]
	text := strings.Join(shown, w.between)
	if all > len(shown) {
		return fmt.Sprintf(w.more, text, all-len(shown))
	}
	return text
}

func named(names map[string]string, id, kind, unknown string) string {
	for _, key := range []string{id, kind} {
		if n := names[key]; n != "" && key != "" {
			return n
		}
	}
	if id == "" {
		return unknown
	}
	return id
}

// peerNames lists addresses without ports, each once, most bytes first.
func (a Alert) peerNames() []string {
	var out []string
	for _, p := range a.Peers {
		if ip := p.ip(); !slices.Contains(out, ip) {
			out = append(out, ip)
		}
	}
	return out
}

// ip is the address without the port.
func (p Peer) ip() string {
	ip, _, err := net.SplitHostPort(p.Address)
	if err != nil {
		return p.Address
	}
	return ip
}

// programs lists the programs by file name, each once.
func (a Alert) programs() []string {
	return distinct(a.Process, func(p Process) string {
		return path.Base("/" + strings.ReplaceAll(p.Image, `\`, "/"))
	})
}

func (a Alert) users() []string {
	return distinct(a.Process, func(p Process) string { return p.User })
}

func distinct(all []Process, f func(Process) string) []string {
	var out []string
	for _, p := range all {
		if s := f(p); s != "" && s != "/" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// Bytes writes an amount of data as people read it: 「12.3 MB」. Units are
// powers of 1000, as on network contracts and in the papers.
func Bytes(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB", "PB"} {
		v /= 1000
		if v < 999.95 {
			return strconv.FormatFloat(v, 'f', 1, 64) + " " + unit
		}
	}
	return strconv.FormatFloat(v/1000, 'f', 1, 64) + " EB"
}
