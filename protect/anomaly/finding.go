package anomaly

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
)

// Rules of the alerts.
const (
	AlertFlagged  = "sonae-backup-anomaly"
	AlertQuestion = "sonae-backup-encrypted-by-hand"
)

// finding is the alarm about a snapshot. The same snapshot gives the same
// finding.
func finding(s Series, x Snapshot, v Verdict) detect.Finding {
	rule := flaggedRule(s, x)
	if v == Question {
		rule = questionRule(s, x)
	}
	sum := sha256.Sum256([]byte(rule.ID + " " + s.ID + " " + x.ID))
	id := hex.EncodeToString(sum[:16])
	fields := map[string]string{"Series": s.ID, "Snapshot": x.ID, "Points": strconv.Itoa(x.Points), "Changed": strconv.Itoa(x.Numbers.Touched()), "Files": strconv.Itoa(x.Numbers.Files)}
	for _, r := range x.Reasons {
		fields["Rules"] = strings.TrimPrefix(fields["Rules"]+", "+r.Rule, ", ")
		if len(r.Examples) > 0 && fields["TargetFilename"] == "" {
			fields["TargetFilename"] = r.Examples[0]
		}
	}
	e := event.Event{ID: "backup-" + id, Time: x.Received, Site: s.Site, Host: s.Host, Kind: event.KindHealth, Product: "sonae", Service: "backup", Fields: fields}
	return detect.Finding{ID: id, Time: x.Received, Site: s.Site, Host: s.Host, Events: []event.Event{e}, Rule: rule}
}

func flaggedRule(s Series, x Snapshot) detect.Rule {
	n, of, sample := spoken(x)
	at := x.Received.In(clock.Tokyo()).Format("2006-01-02 15:04")
	begun := x.since().In(clock.Tokyo()).Format("2006-01-02 15:04")
	ja := s.Name + " の " + at + " のバックアップで、" + strconv.Itoa(n) + " 個のファイルが使えなくなったか、失われたおそれがあります(変わったファイル " + strconv.Itoa(of) + " 個、点数 " + strconv.Itoa(x.Points) + ")。"
	en := "In the backup of " + s.Name + " of " + at + ", " + strconv.Itoa(n) + " files look unusable or are lost (" + strconv.Itoa(of) + " files changed, score " + strconv.Itoa(x.Points) + ")."
	if x.since().Before(x.Received.Add(-time.Minute)) {
		ja, en = ja+"始まりは "+begun+" 頃と見られます。", en+" It seems to have begun at about "+begun+"."
	}
	if sample != "" {
		ja, en = ja+"例: "+sample, en+" For example: "+sample
	}
	return detect.Rule{ID: AlertFlagged, Level: event.Critical, Tags: tags(x),
		Title: detect.Text{"ja": "バックアップに、暗号化や破壊の跡がある", "en": "A backup looks as if files had been encrypted or destroyed"},
		What:  detect.Text{"ja": ja, "en": en},
		Affects: detect.Text{"ja": "この機器のファイルが、今も暗号化されている最中かもしれません。この世代とその後の世代から戻すと、壊れたファイルも戻ります。",
			"en": "Files of this machine may be being encrypted right now. A restore from this snapshot or a later one brings back damaged files too."},
		Next: detect.Text{"ja": "1. 機器で例のファイルが開けるかを確かめる。 2. 開けなければ、機器をネットワークから切り離し、事案にする。 3. 保管庫の世代は消えないように凍結済み。暗号化なら、保管庫のページの「経路を切る」で控えの経路も切る。 4. 「守り」の「世代」で、最後のきれいな時点を確かめ、人が確定する。 5. 予定した作業なら、同じページに変更番号とともに記録し、凍結を解く。",
			"en": "1. See whether the named files open on the machine. 2. If they do not, cut the machine off and open an incident. 3. Its snapshots are frozen already. If files are encrypted, cut the path on the page of its repository, too. 4. On the page Snapshots below Protection, check the last clean point and confirm it. 5. If it was planned, say so there with the number of the change, and end the freeze."}}
}

func questionRule(s Series, x Snapshot) detect.Rule {
	n, _, sample := spoken(x)
	at := x.Received.In(clock.Tokyo()).Format("2006-01-02 15:04")
	if sample != "" {
		sample = " " + sample
	}
	return detect.Rule{ID: AlertQuestion, Level: event.Medium,
		Title: detect.Text{"ja": "多くのファイルが手作業で暗号化されたように見える。予定した作業ですか", "en": "Many files seem to have been encrypted by hand. Was it planned?"},
		What: detect.Text{"ja": s.Name + " の " + at + " のバックアップで、" + strconv.Itoa(n) + " 個のファイルが、gpg や zip など人が使うプログラムで暗号化されています。" + sample,
			"en": "In the backup of " + s.Name + " of " + at + ", " + strconv.Itoa(n) + " files are encrypted by a program that people use, such as gpg or zip." + sample},
		Affects: detect.Text{"ja": "中身だけでは、担当者の作業と侵入者の仕業を区別できません。", "en": "By their content, work of a person and work of an intruder cannot be told apart."},
		Next: detect.Text{"ja": "1. 機器の担当者に、予定した作業かを尋ねる。 2. 「守り」の「世代」で、変更番号とともに答えを記録する。 3. 誰も行っていなければ「予定していない」と答える。重大な警報に変わる。",
			"en": "1. Ask the owner of the machine whether it was planned. 2. Record the answer on the page Snapshots below Protection, with the number of the change. 3. If nobody did it, answer that it was not planned: it becomes a critical alert."}}
}

// tags say of encrypted files that it is encryption for impact, so that what
// answers to that does. A canary that changed is certain, and so is the word of a
// person that nobody planned it. All else is a score, which may be wrong: what is
// kept is frozen, and a person cuts the path (detect.TagScored).
func tags(x Snapshot) []string {
	is := func(rules ...string) bool {
		return slices.ContainsFunc(x.Reasons, func(r Reason) bool { return slices.Contains(rules, r.Rule) })
	}
	switch {
	case is(RuleCanary), x.Answer != nil && !x.Answer.Planned:
		return []string{"attack.impact", "attack.t1486"}
	case is(RuleDamage, RuleNoise, RuleSlow, RuleQuestion):
		return []string{"attack.impact", "attack.t1486", detect.TagScored}
	}
	return []string{"attack.impact", "attack.t1485"}
}

// spoken is what the strongest reason counts, how many files changed, and an
// example.
func spoken(x Snapshot) (n, of int, sample string) {
	points := -1
	for _, r := range x.Reasons {
		if r.Points > points {
			points, n = r.Points, r.N
		}
		if len(r.Examples) > 0 && sample == "" {
			sample = r.Examples[0]
		}
	}
	return n, x.Numbers.Touched(), sample
}
