package asset

import (
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// Registry keeps sites, hosts and tokens. It is safe for concurrent use.
type Registry struct {
	db  *state.DB
	now clock.Now
	log *slog.Logger

	mu   sync.Mutex
	live map[string]beat // newest heartbeat of each host
}

// New makes the registry on an open state.
func New(db *state.DB, now clock.Now, log *slog.Logger) *Registry {
	return &Registry{db: db, now: now, log: log.With("part", "asset"), live: map[string]beat{}}
}

// Filter chooses hosts. Limit 0 means 100; at most 1000.
type Filter struct {
	Site          string // empty: all sites
	Limit, Offset int
}

// bounds of what people and agents may write.
const (
	maxName   = 200
	maxText   = 2000
	maxParts  = 64
	maxNumber = 1000
	maxCost   = 1_000_000_000_000 // persons, calls and yen beyond this are slips of the keyboard
)

// siteID says whether id fits subjects and certificates: [a-z0-9][a-z0-9-]{0,31}.
func siteID(id string) bool {
	if len(id) < 1 || len(id) > 32 || id[0] == '-' {
		return false
	}
	for _, c := range id {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// plain says whether s is one line of at most n bytes without control characters.
func plain(s string, n int) bool {
	return len(s) <= n && utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

// prose is plain with line ends.
func prose(s string, n int) bool {
	return plain(strings.NewReplacer("\n", " ", "\r", " ").Replace(s), n)
}

func page(limit int) int {
	if limit <= 0 {
		return 100
	}
	return min(limit, maxNumber)
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

var errSite = fault.New(fault.Missing, "asset.site-unknown")
var errHost = fault.New(fault.Missing, "asset.host-unknown")

// inFuture is how far beyond now a time may be that an agent tells.
const inFuture = 366 * 24 * time.Hour
