package ui

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/vault"
)

// vaultHouse has the repositories of two machines, one of which somebody tried to
// harm, and keeps what is asked.
type vaultHouse struct{ *house }

func (h vaultHouse) Repositories(ctx context.Context, site string) ([]vault.Repository, error) {
	all := []vault.Repository{
		{Agent: "ho-1", Site: "callcentre", Name: "CC-PC-07", Begun: start.Add(-90 * 24 * time.Hour), Snapshot: start.Add(-4 * time.Hour), Snapshots: 92, Last: start.Add(-time.Minute), Used: 48 << 30,
			Day: 2 << 30, Usual: 300 << 20, Quota: 100 << 30, QuotaWhy: "契約どおり", Working: true, Upload: vault.LevelSound,
			Read: vault.Level{State: vault.LevelDamaged, At: start.Add(-10 * time.Hour), Why: "data/ab/ab12: offset 20: mac: the MAC does not fit"}, Refused: 12, RefusedAt: start.Add(-20 * time.Minute),
			Escrow: vault.EscrowPrinted, EscrowAt: start.Add(-80 * 24 * time.Hour), Cut: "vc-1", Frozen: "vc-2", Hold: &vault.Hold{Why: "警察の照会", At: start.Add(-2 * time.Hour), By: "pe-approver"}},
		{Agent: "ho-2", Site: "hospital", Name: "EMR-SV-01", Begun: start.Add(-time.Hour), Upload: vault.LevelNever, Read: vault.Level{State: vault.LevelNever}, Escrow: vault.EscrowNone},
	}
	var out []vault.Repository
	for _, r := range all {
		if h.allKeys {
			r.Escrow = vault.EscrowSealed
		}
		if site == "" || r.Site == site {
			out = append(out, r)
		}
	}
	return out, nil
}

func (h vaultHouse) Get(ctx context.Context, agent string) (vault.Repository, error) {
	all, err := h.Repositories(ctx, "")
	for _, r := range all {
		if r.Agent == agent {
			return r, err
		}
	}
	return vault.Repository{}, missing("vault.missing")
}

func (h vaultHouse) SetQuota(_ context.Context, _ string, n int64, reason string, _ auth.Person) error {
	switch {
	case n < 0:
		return fault.New(fault.Invalid, "vault.quota")
	case reason == "":
		return fault.New(fault.Invalid, "vault.reason", 1000)
	}
	return nil
}

func (h vaultHouse) Reads(_ context.Context, agent string) ([]vault.Read, error) {
	if agent != "ho-1" {
		return nil, nil
	}
	return []vault.Read{
		{ID: "vd-3", Agent: agent, Scope: vault.ReadPart, Part: 11, Begun: start.Add(-10 * time.Hour), Ended: start.Add(-10 * time.Hour), Packs: 103, Bytes: 1_650_000_000, Result: vault.Damaged,
			Damages: []string{"data/ab/ab12: offset 20: mac: the MAC does not fit"}},
		{ID: "vd-2", Agent: agent, Scope: vault.ReadNew, Begun: start.Add(-12 * time.Hour), Ended: start.Add(-12 * time.Hour), Packs: 14, Bytes: 230_000_000, Result: vault.Sound},
		{ID: "vd-1", Agent: agent, Scope: vault.ReadAll, Begun: start.Add(-40 * time.Hour), Ended: start.Add(-39 * time.Hour), Result: vault.Unread, Why: "read data/cd: input/output error <5>"},
	}, nil
}

func (h vaultHouse) AskRead(context.Context, string, auth.Person) error { return nil }

func (h vaultHouse) RefusalsOf(_ context.Context, agent string) ([]vault.Refusals, error) {
	if agent != "ho-1" {
		return nil, nil
	}
	return []vault.Refusals{{ID: "vr-1", Agent: agent, Key: "protect.append-only", Count: 12, First: start.Add(-21 * time.Minute), Last: start.Add(-20 * time.Minute), What: []string{"snapshots/" + strings.Repeat("ab", 32), "config"}}}, nil
}

func (h vaultHouse) Recipients(context.Context) (vault.Recipients, error) {
	return vault.Recipients{List: []vault.Recipient{{Name: "院長室の金庫", Key: "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"}, {Name: "事務長(自宅)", Key: "age1pppppppppppppppppppppppppppppppppppppppppppppppppppppppppp"}},
		Why: "鍵の更新", At: start.Add(-80 * 24 * time.Hour), By: "pe-admin"}, nil
}

func (h vaultHouse) SetRecipients(_ context.Context, all []vault.Recipient, _ string, _ auth.Person) error {
	if len(all) < 2 {
		return fault.New(fault.Invalid, "vault.recipients", 2, 8)
	}
	return nil
}

func (h vaultHouse) Sheet(ctx context.Context, agent string) (vault.Sheet, error) {
	if agent != "ho-1" {
		return vault.Sheet{}, fault.New(fault.Conflict, "vault.no-escrow")
	}
	return vault.Sheet{Agent: agent, Name: "CC-PC-07", Site: "callcentre", Folder: "/var/lib/sonae/repositories/ho-1/repository", Repository: strings.Repeat("cd", 32), For: []string{"院長室の金庫", "事務長(自宅)"}, At: start,
		Escrow: vault.Escrow{Key: strings.Repeat("ef", 32), Check: "0a1b2c3d", At: start.Add(-80 * 24 * time.Hour), By: "pe-admin", Sealed: "-----BEGIN AGE ENCRYPTED FILE-----\n" + strings.Repeat(strings.Repeat("A", 64)+"\n", 9) + "-----END AGE ENCRYPTED FILE-----\n"}}, nil
}

func (h vaultHouse) NewSheet(ctx context.Context, agent string, _ auth.Person) (vault.Sheet, error) {
	s, err := h.Sheet(ctx, agent)
	s.Password = "AAAA-BBBB-CCCC-DDDD"
	return s, err
}

func (h vaultHouse) Cuts(_ context.Context, site string) ([]vault.Cut, error) {
	all := []vault.Cut{
		{ID: "vc-1", Site: "callcentre", Host: "ho-1", Finding: "f-1", Rule: vault.RuleTampering, Title: detect.Text{"ja": "控えを壊そうとする操作を保管庫が拒みました", "en": "The repository refused an attempt to harm backups"},
			Incident: "in-1", At: start.Add(-19 * time.Minute), By: vault.Hub, Paths: []vault.Path{{Agent: "ho-1", Working: true}}},
		{ID: "vc-2", Site: "callcentre", Host: "ho-1", Finding: "f-2", Rule: "sonae-backup-anomaly", Title: detect.Text{"ja": "バックアップに、暗号化や破壊の跡がある", "en": "A backup looks as if files had been encrypted or destroyed"}, Kept: true,
			At: start.Add(-25 * time.Minute), By: vault.Hub, Paths: []vault.Path{{Agent: "ho-1"}}},
		{ID: "vc-0", Site: "hospital", Why: "訓練ではない保守 <b>", At: start.Add(-30 * 24 * time.Hour), By: "pe-responder", ReleasedAt: start.Add(-29 * 24 * time.Hour), ReleasedBy: "pe-approver", Reason: "保守の終了"},
	}
	var out []vault.Cut
	for _, c := range all {
		if site == "" || c.Site == site {
			out = append(out, c)
		}
	}
	return out, nil
}

func (h vaultHouse) CutByID(ctx context.Context, id string) (vault.Cut, error) {
	all, err := h.Cuts(ctx, "")
	for _, c := range all {
		if c.ID == id {
			return c, err
		}
	}
	return vault.Cut{}, missing("vault.missing")
}

func (h vaultHouse) CutPath(_ context.Context, _, _, why string, _ auth.Person) (vault.Cut, error) {
	if why == "" {
		return vault.Cut{}, fault.New(fault.Invalid, "vault.reason", 1000)
	}
	return vault.Cut{}, nil
}

func (h vaultHouse) Release(_ context.Context, id, reason string, _ auth.Person) error {
	switch {
	case reason == "":
		return fault.New(fault.Invalid, "vault.reason", 1000)
	case id == "vc-0":
		return fault.New(fault.Conflict, "vault.released")
	}
	return nil
}

func (h vaultHouse) Passes(_ context.Context, agent, site string) ([]vault.Pass, error) {
	all := []vault.Pass{
		{ID: "vp-2", Agent: "ho-1", Site: "callcentre", Why: "暗号化の前へ戻す", AsOf: start.Add(-24 * time.Hour), Lasts: vault.PassLasts, State: vault.PassAsked, AskedBy: "pe-responder", AskedAt: start.Add(-5 * time.Minute)},
		{ID: "vp-1", Agent: "ho-1", Site: "callcentre", Why: "調査", Lasts: vault.PassLasts, State: vault.PassHolds, AskedBy: "pe-responder", AskedAt: start.Add(-time.Hour), DecidedBy: "pe-approver", DecidedAt: start.Add(-time.Hour), Until: start.Add(7 * time.Hour)},
	}
	var out []vault.Pass
	for _, p := range all {
		if (agent == "" || p.Agent == agent) && (site == "" || p.Site == site) {
			out = append(out, p)
		}
	}
	return out, nil
}

func (h vaultHouse) PassByID(ctx context.Context, id string) (vault.Pass, error) {
	all, err := h.Passes(ctx, "", "")
	for _, p := range all {
		if p.ID == id {
			return p, err
		}
	}
	return vault.Pass{}, missing("vault.missing")
}

func (h vaultHouse) AskPass(_ context.Context, n vault.NewPass, _ auth.Person) (vault.Pass, error) {
	if n.Why == "" {
		return vault.Pass{}, fault.New(fault.Invalid, "vault.reason", 1000)
	}
	return vault.Pass{ID: "vp-3"}, nil
}

func (h vaultHouse) ApprovePass(context.Context, string, auth.Person) error        { return nil }
func (h vaultHouse) RefusePass(context.Context, string, string, auth.Person) error { return nil }
func (h vaultHouse) EndPass(context.Context, string, string, auth.Person) error    { return nil }

func (h vaultHouse) TakeToken(_ context.Context, id string, _ auth.Person) (string, error) {
	return id + ".secret", nil
}

func (h vaultHouse) PlanPrune(_ context.Context, _ string, g vault.Generations) ([]vault.Choice, error) {
	if g.Last < 0 {
		return nil, fault.New(fault.Invalid, "vault.generations")
	}
	return []vault.Choice{{Snapshot: strings.Repeat("1a", 32), Received: start.Add(-4 * time.Hour), Of: "files: /srv/emr", Policy: "po-1", Keep: []string{"last", "daily", vault.StayClean, vault.StayProven}}, {Snapshot: strings.Repeat("2b", 32), Received: start.Add(-400 * 24 * time.Hour), Of: "files: /srv/emr", Policy: "po-1", Keep: []string{}}}, nil
}

func (h vaultHouse) AskPrune(context.Context, string, vault.Generations, string, auth.Person) (vault.Prune, error) {
	return vault.Prune{}, nil
}

func (h vaultHouse) MayPrune(context.Context, string) (vault.Prune, error) {
	return vault.Prune{}, fault.New(fault.Conflict, "vault.incident", "in-1")
}

func (h vaultHouse) Gone(_ context.Context, agent string, _ time.Time) ([]repository.Gone, error) {
	if agent != "ho-1" {
		return nil, nil
	}
	return []repository.Gone{{Snapshot: strings.Repeat("3c", 32), Received: start.Add(-900 * 24 * time.Hour), At: start.Add(-60 * 24 * time.Hour), Decision: "vg-0"}}, nil
}

func (h vaultHouse) SetHold(_ context.Context, _, why string, _ auth.Person) error {
	if why == "" {
		return fault.New(fault.Invalid, "vault.reason", 1000)
	}
	return nil
}

func (h vaultHouse) EndHold(ctx context.Context, agent, why string, by auth.Person) error {
	return h.SetHold(ctx, agent, why, by)
}

func (h vaultHouse) CutKept(ctx context.Context, id string, _ auth.Person) (vault.Cut, error) {
	return h.CutByID(ctx, id)
}

func (h vaultHouse) Home(context.Context) (vault.Home, error) {
	return vault.Home{Hub: "hub-a", At: start.Add(-90 * 24 * time.Hour), By: vault.Hub}, nil
}

func (h vaultHouse) TakeHome(_ context.Context, why string, _ auth.Person) error {
	if why == "" {
		return fault.New(fault.Invalid, "vault.reason", 1000)
	}
	return fault.New(fault.Conflict, "vault.home-incomplete", "receive log of ho-1")
}

func (h vaultHouse) Tools(context.Context) ([]vault.Tool, error) {
	return []vault.Tool{
		{ID: "vt-2", File: "restic_0.18.0_windows_amd64.exe", OS: "windows", Arch: "amd64", Version: "0.18.0", Said: true, Go: "go1.24.4", SHA256: strings.Repeat("9d", 32), Size: 29_000_000, Why: "公式の配布元。署名を確かめた <b>", State: vault.ToolAsked, AskedBy: "pe-admin", AskedAt: start.Add(-time.Hour)},
		{ID: "vt-1", File: "restic", OS: "linux", Arch: "amd64", Version: "0.18.0", Go: "go1.24.4", Revision: strings.Repeat("7e", 20), SHA256: strings.Repeat("8c", 32), Size: 27_000_000, Why: "Debian 13", State: vault.ToolApproved, AskedBy: "pe-admin", AskedAt: start.Add(-50 * time.Hour), DecidedBy: "pe-approver", DecidedAt: start.Add(-49 * time.Hour)},
	}, nil
}

func (h vaultHouse) ToolByID(ctx context.Context, id string) (vault.Tool, error) {
	all, err := h.Tools(ctx)
	for _, t := range all {
		if t.ID == id {
			return t, err
		}
	}
	return vault.Tool{}, missing("vault.missing")
}

func (h vaultHouse) AddTool(_ context.Context, _, _, why string, body []byte, _ auth.Person) (vault.Tool, error) {
	if len(body) < 10 {
		return vault.Tool{}, fault.New(fault.Invalid, "vault.tool-unknown")
	}
	return vault.Tool{ID: "vt-3", Why: why}, nil
}

func (h vaultHouse) ApproveTool(context.Context, string, auth.Person) error { return nil }

func (h vaultHouse) StopTool(_ context.Context, _, why string, _ auth.Person) error {
	if why == "" {
		return fault.New(fault.Invalid, "vault.reason", 1000)
	}
	return nil
}

func (h vaultHouse) ApprovePrune(context.Context, string, auth.Person) error      { return nil }
func (h vaultHouse) StopPrune(context.Context, string, string, auth.Person) error { return nil }

func (h vaultHouse) Prunes(ctx context.Context, agent string) ([]vault.Prune, error) {
	if agent != "ho-1" && agent != "" {
		return nil, nil
	}
	agent = "ho-1"
	choices, err := h.PlanPrune(ctx, agent, vault.Generations{})
	return []vault.Prune{
		{ID: "vg-3", Agent: agent, Site: "callcentre", Why: "保存年限", Choices: choices, State: vault.PruneAsked, AskedBy: "pe-responder", AskedAt: start.Add(-time.Hour)},
		{ID: "vg-2", Agent: agent, Site: "callcentre", Why: "保存年限", Choices: choices, State: vault.PruneCooling, AskedBy: "pe-responder", AskedAt: start.Add(-300 * time.Hour), DecidedBy: "pe-approver", DecidedAt: start.Add(-200 * time.Hour), DueAt: start.Add(-32 * time.Hour)},
		{ID: "vg-1", Agent: agent, Site: "callcentre", Why: "保存年限", Choices: choices, State: vault.PruneCooling, AskedBy: "pe-responder", AskedAt: start.Add(-48 * time.Hour), DecidedBy: "pe-approver", DecidedAt: start.Add(-24 * time.Hour), DueAt: start.Add(144 * time.Hour)},
		{ID: "vg-0", Agent: agent, Site: "callcentre", Why: "保存年限", Choices: choices, State: vault.PruneDone, AskedBy: "pe-responder", AskedAt: start.Add(-70 * 24 * time.Hour), DecidedBy: "pe-approver", DecidedAt: start.Add(-68 * 24 * time.Hour), DueAt: start.Add(-61 * 24 * time.Hour),
			DoneAt: start.Add(-60 * 24 * time.Hour), Did: &repository.Pruned{Snapshots: 12, Packs: 340, Rewritten: 41, Freed: 5_600_000_000}, Spared: choices[:1], ClearedAt: start.Add(-59 * 24 * time.Hour)},
	}, err
}

func (h vaultHouse) PruneByID(ctx context.Context, id string) (vault.Prune, error) {
	all, err := h.Prunes(ctx, "ho-1")
	for _, p := range all {
		if p.ID == id {
			return p, err
		}
	}
	return vault.Prune{}, missing("vault.missing")
}

// The overview counts repositories that nobody opens once the hub is lost, names
// them, and leads to where one decides who gets their keys; in both languages.
func TestRepositoriesWithoutASecondKeyAreSaid(t *testing.T) {
	h := newHouse()
	v, _ := h.open(t)
	for _, lang := range i18n.Languages() {
		got := v.as("responder").get("/protect?lang=" + lang).body
		for _, want := range []string{i18n.T(lang, "protect.keys.missing", map[string]string{"count": "1"}), "EMR-SV-01", `href="/protect/repositories#h-recipients"`} {
			if !strings.Contains(got, want) {
				t.Errorf("in %s it does not say %q", lang, want)
			}
		}
	}
	h.allKeys = true
	if got := v.as("responder").get("/protect").body; !strings.Contains(got, i18n.T("ja", "protect.keys.all", nil)) || strings.Contains(got, "#h-recipients") {
		t.Error("it complains where every repository has a second key")
	}
}
