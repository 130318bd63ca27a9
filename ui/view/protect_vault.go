package view

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/vault"
	"github.com/sonae/sonae/ready/asset"
)

// VaultsData is the list of repositories with what belongs to all of them.
type VaultsData struct {
	There        []string // addresses of the pages about backups
	Repositories []vault.Repository
	Cuts         []vault.Cut // the newest first
	Passes       []vault.Pass
	Sites        []asset.Site     // whose path the viewer may cut
	Recipients   vault.Recipients // empty for who may not see them
	Home         vault.Home       // zero: the hub is alone
}

// VaultData is one repository.
type VaultData struct {
	There      []string
	Repository vault.Repository
	Cuts       []vault.Cut // in force
	Reads      []vault.Read
	Refusals   []vault.Refusals
	Passes     []vault.Pass
	Prunes     []vault.Prune
	Rules      vault.Generations // of the pruning that is planned
	Choices    []vault.Choice    // what it would do
	ByPolicy   bool              // Choices are what the policies alone say
	Planned    bool              // they are those of the form
	Waits      *Fault            // why what is due is not carried out yet
	Gone       []repository.Gone // the newest first
}

// VaultSheetData is a recovery sheet; QR are pictures as data URLs.
type VaultSheetData struct {
	Sheet      vault.Sheet
	SealedQR   string
	PasswordQR string
}

// VaultTokenData is a token that was just taken.
type VaultTokenData struct {
	Pass    vault.Pass
	Token   string
	Address string // of the repository, as restic takes it
}

// holding are the cuts in force.
func (d VaultsData) holding() []vault.Cut {
	return slices.DeleteFunc(slices.Clone(d.Cuts), func(c vault.Cut) bool { return !c.Holds() })
}

func vaultPath(agent string) string { return "/protect/repositories/" + agent }

func ofVault(id, site, asked string) auth.Resource {
	return auth.Resource{Kind: "protect", ID: id, Site: site, RequestedBy: asked}
}

// vaultProgress folds a level to the three states of progress; none is failed.
func vaultProgress(s vault.LevelState) string {
	switch s {
	case vault.LevelSound:
		return "done"
	case vault.LevelDamaged, vault.LevelUnread, vault.LevelStale:
		return "failed"
	}
	return "waiting"
}

func escrowProgress(s string) string {
	switch s {
	case vault.EscrowSealed, vault.EscrowPrinted:
		return "done"
	case vault.EscrowNone:
		return "failed"
	}
	return "waiting"
}

func passProgress(s vault.PassState) string {
	switch s {
	case vault.PassAsked:
		return "waiting"
	case vault.PassHolds:
		return "working"
	}
	return "done"
}

func pruneProgress(s vault.PruneState) string {
	switch s {
	case vault.PruneAsked, vault.PruneDue:
		return "waiting"
	case vault.PruneCooling:
		return "working"
	case vault.PruneFailed:
		return "failed"
	}
	return "done"
}

func readProgress(r vault.Result) string {
	if r == vault.Sound {
		return "done"
	}
	return "failed"
}

// why is what a cut is about, in words.
func cutWhy(p Page, c vault.Cut) string {
	if len(c.Title) > 0 {
		return c.Title.In(p.Lang)
	}
	return c.Why
}

// going are how many snapshots a plan lets go.
func (d VaultData) going() int { return vault.Prune{Choices: d.Choices}.Goes() }

// keptBy names the rules by which a snapshot stays.
func keptBy(p Page, c vault.Choice) string {
	return list(p, c.Keep, func(rule string) string { return p.T("protect.vault.rule." + rule) })
}

// refusedWhy is the sentence for a refusal.
func refusedWhy(p Page, r vault.Refusals) string { return p.Known("fault."+r.Key, r.Key) }

// gigabytes writes a quota for a form.
func gigabytes(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(n)/1e9, 'f', -1, 64)
}

// RecipientsText writes recipients for a form, one a line: the public key and the
// name.
func RecipientsText(all []vault.Recipient) string {
	var b strings.Builder
	for _, r := range all {
		b.WriteString(r.Key + " " + r.Name + "\n")
	}
	return b.String()
}

// ParseRecipients reads what RecipientsText writes.
func ParseRecipients(text string) []vault.Recipient {
	var out []vault.Recipient
	for _, line := range lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			key, name, _ := strings.Cut(line, " ")
			out = append(out, vault.Recipient{Key: key, Name: strings.TrimSpace(name)})
		}
	}
	return out
}

// generationFields are the numbers of a pruning's form, in order.
func generationFields(g vault.Generations) []struct {
	Name string
	N    int
} {
	return []struct {
		Name string
		N    int
	}{{"last", g.Last}, {"daily", g.Daily}, {"weekly", g.Weekly}, {"monthly", g.Monthly}, {"yearly", g.Yearly}}
}

// passLengths are how long a pass may hold.
func passLengths() []time.Duration {
	return []time.Duration{time.Hour, vault.PassLasts, 24 * time.Hour, 72 * time.Hour}
}

func firstReads(all []vault.Read) []vault.Read { return all[:min(len(all), 40)] }

func byPart(p Page, r vault.Read) string {
	if r.Scope == vault.ReadPart {
		return p.T("protect.vault.scope.part", "part", strconv.Itoa(r.Part+1))
	}
	return p.T("protect.vault.scope." + string(r.Scope))
}

// releaseWord is the key of what ends a cut, or the freeze of what is kept.
func releaseWord(c vault.Cut) string {
	if c.Kept {
		return "protect.vault.kept.release"
	}
	return "protect.vault.release"
}

func toolProgress(s vault.ToolState) string {
	switch s {
	case vault.ToolAsked:
		return "waiting"
	case vault.ToolApproved:
		return "working"
	}
	return "done"
}
