package ui

import (
	"context"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/auth/standing"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
)

// frozen is a process that the guard of a machine stopped by itself.
func frozen(incident string) action.Action {
	at := start.Add(-50 * time.Second)
	return action.Action{ID: "ac-3", Kind: action.Freeze, State: action.Verified, Incident: incident, Host: "ho-1", Site: "callcentre", Reason: "暗号化しているプログラムを凍結しました", Auto: action.Guard,
		Alert: "al-1", Process: &order.Process{PID: 4711, Start: 889_120, Image: "/home/op/ダウンロード/請求書<b>op</b>.pdf.exe"}, RequestedBy: action.Hub, RequestedAt: at, AppliedAt: at, VerifiedAt: at,
		Consequences: []action.Consequence{{Service: "外来予約の電話受付", Effect: "この席で予約の電話を受けられなくなる。残り11席で受ける。", Load: "1時間あたり約40件の電話"}},
		Checks:       []action.Check{{Name: "process-still", Target: "4711", OK: true, Detail: "by the guard", Checked: at}}}
}

// policies are one that holds and one that waits.
func policiesOf() []action.Policy {
	d := standing.Draft{Kind: "isolate", Site: "callcentre", Class: "pc", Severity: 4, Certain: true, From: 19, To: 7, Lease: time.Hour, Most: 3, Tell: "当直 田中 内線1234", Probe: "192.0.2.10:445"}
	return []action.Policy{
		{ID: "po-2", Name: "すぐに凍結する", Text: standing.Draft{Kind: "freeze", Severity: 5}.Text(), State: action.PolicyProposed, Why: "凍結で失うものは少ない", ProposedBy: "pe-responder", ProposedAt: start.Add(-time.Hour)},
		{ID: "po-1", Name: "夜間は<b>隔離</b>する", Site: "callcentre", Text: d.Text(), State: action.PolicyInForce, Why: "夜は情報担当がいない", ProposedBy: "pe-responder", ProposedAt: start.Add(-90 * time.Hour),
			DecidedBy: "pe-approver", DecidedAt: start.Add(-80 * time.Hour)},
	}
}

func (h actionsOf) Keep(_ context.Context, id, reason string, by auth.Person) error {
	_, err := h.change(id, func(a *action.Action) error {
		if reason == "" {
			return fault.New(fault.Invalid, "action.reason")
		}
		a.KeptBy, a.KeptAt = by.ID, h.now
		return nil
	})
	return err
}

func (h actionsOf) Decisions(_ context.Context, id string) ([]action.Decision, error) {
	return []action.Decision{{Action: id, No: 1, What: "policy-proposed", By: "pe-responder", At: start.Add(-90 * time.Hour), Reason: "夜は情報担当がいない"}}, nil
}

func (h actionsOf) Policies(_ context.Context, site string) ([]action.Policy, error) {
	return policiesOf(), nil
}

func (h actionsOf) Policy(_ context.Context, id string) (action.Policy, error) {
	for _, p := range policiesOf() {
		if p.ID == id {
			return p, nil
		}
	}
	return action.Policy{}, missing("policy.unknown")
}

func (h actionsOf) Propose(_ context.Context, p action.Policy, by auth.Person) (action.Policy, error) {
	if _, err := standing.Compile(map[string]string{"po-3": p.Text}); err != nil {
		return p, err
	}
	p.ID = "po-2"
	return p, nil
}

func (h actionsOf) ApprovePolicy(context.Context, string, auth.Person) error        { return nil }
func (h actionsOf) RefusePolicy(context.Context, string, string, auth.Person) error { return nil }
func (h actionsOf) EndPolicy(context.Context, string, string, auth.Person) error    { return nil }

func (h actionsOf) Rehearse(_ context.Context, p action.Policy, _ action.Alerts) (action.Rehearsal, error) {
	if _, err := standing.Compile(map[string]string{p.ID: p.Text}); err != nil {
		return action.Rehearsal{}, err
	}
	w := action.Would{At: start.Add(-4 * time.Hour), Alert: "al-1", Title: detect.Text{"ja": "ファイル共有ソフト(BitTorrent)の通信", "en": "File sharing (BitTorrent) traffic"}, Host: "ho-1", Site: "callcentre", Kind: action.Freeze,
		Tell: "当直 田中 内線1234", Stops: []string{"外来予約の電話受付"}}
	kept := w
	kept.Host, kept.Site, kept.Refused = "ho-2", "hospital", "policy.kept"
	return action.Rehearsal{From: start.Add(-action.RehearseFor), Alerts: 37, Machines: 1, Would: []action.Would{w, kept}}, nil
}
