package drill

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
)

// Rules of the alerts about drills.
const (
	RuleFailed     = "sonae-restore-drill-failed"
	RuleImpossible = "sonae-restore-drill-not-run"
)

// Finding is the alarm about a run that found something wrong, or that could not
// run although nobody cancelled it; false: there is nothing to tell. The same
// run gives the same finding.
func (r Run) Finding() (detect.Finding, bool) {
	if r.State != Failed && (r.State != Impossible || r.Cancelled != "") {
		return detect.Finding{}, false
	}
	rule := RuleImpossible
	if r.State == Failed {
		rule = RuleFailed
	}
	n := r.Definition
	host := n.Host
	if host == "" {
		host = n.ID
	}
	sum := sha256.Sum256([]byte(rule + " " + r.ID))
	fields := map[string]string{"Run": r.ID, "Drill": n.Name, "Level": string(n.Level), "Problems": strconv.Itoa(len(r.Problems) + r.More)}
	if len(r.Problems) > 0 {
		fields["Problem"] = r.Problems[0].Text
	}
	if r.Why != nil {
		fields["Why"] = r.Why.Key
	}
	e := event.Event{ID: "restore-drill-" + r.ID, Time: r.EndedAt, Site: n.Site, Host: host, Kind: event.KindHealth, Product: "sonae", Service: "drill", Fields: fields}
	return detect.Finding{ID: hex.EncodeToString(sum[:16]), Time: r.EndedAt, Site: n.Site, Host: host, Events: []event.Event{e}, Rule: r.rule()}, true
}

func (r Run) rule() detect.Rule {
	name := r.Definition.Name
	if r.State == Impossible {
		return detect.Rule{ID: RuleImpossible, Level: event.Medium,
			Title: detect.Text{"ja": "復元訓練を実施できなかった", "en": "A restore drill could not run"},
			What: detect.Text{"ja": "復元訓練「" + name + "」は、準備が整わず実施できませんでした。控えが使えるかどうかは、分かっていません。",
				"en": "The restore drill " + strconv.Quote(name) + " could not run. Whether the backup can be used is not known."},
			Affects: detect.Text{"ja": "この控えで復旧できるという証明が、古くなっていきます。", "en": "The proof that this backup can be restored grows old."},
			Next: detect.Text{"ja": "1. 「守り」の「復元訓練」で、実施できなかった理由を見る。 2. 足りないものを整え、「今すぐ実施」を押す。",
				"en": "1. Under Protection, Restore drills, read why it could not run. 2. Put that right and run it again."}}
	}
	var first string
	if len(r.Problems) > 0 {
		first = r.Problems[0].Text
	}
	return detect.Rule{ID: RuleFailed, Level: event.High,
		Title: detect.Text{"ja": "復元訓練で、控えから戻したものが正しくなかった", "en": "What a restore drill restored is not right"},
		What: detect.Text{"ja": strings.TrimSpace("復元訓練「" + name + "」で、控えから戻したものに問題が見つかりました。" + first),
			"en": strings.TrimSpace("The restore drill " + strconv.Quote(name) + " found something wrong with what it restored. " + first)},
		Affects: detect.Text{"ja": "この世代からは、復旧できないおそれがあります。", "en": "It may be impossible to recover from this snapshot."},
		Next: detect.Text{"ja": "1. 「守り」の「復元訓練」で、何が壊れていたかを見る。 2. 一つ前の世代で同じ訓練を行い、使える世代を確かめる。 3. 元の機器のデータも壊れていないかを確かめる。 4. 使える世代は消さない。",
			"en": "1. Under Protection, Restore drills, see what was broken. 2. Run the same drill on the snapshot before, until one passes. 3. Check whether the data on the machine itself is broken. 4. Keep the snapshot that passed."}}
}
