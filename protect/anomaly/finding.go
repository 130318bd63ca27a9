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
	"github.com/sonae/sonae/i18n"
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
	if r, ok := streamReason(x); ok {
		return streamRule(s, x, r)
	}
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

// streamReason is the strongest reason where it is about a stream.
func streamReason(x Snapshot) (r Reason, ok bool) {
	for _, one := range x.Reasons {
		if one.Points > r.Points {
			r = one
		}
	}
	return r, slices.Contains([]string{RuleHead, RuleInside, RuleScrambled}, r.Rule)
}

// streamRule tells of a dump, a base backup or the image of a disk: one file, so
// that numbers of files say nothing.
func streamRule(s Series, x Snapshot, r Reason) detect.Rule {
	at := x.Received.In(clock.Tokyo()).Format("2006-01-02 15:04")
	name, form := strings.Join(r.Examples, ", "), formWords(r.Form)
	ja, en := "。点数 "+strconv.Itoa(x.Points)+"。", " (score "+strconv.Itoa(x.Points)+")."
	switch r.Rule {
	case RuleHead:
		ja, en = name+" の始まりが、"+form["ja"]+"ではなくなっています"+ja, name+" no longer begins as "+form["en"]+en
	case RuleInside:
		ja, en = name+" の中に、"+form["ja"]+"にはあり得ない、乱数のようなデータがあります"+ja, name+" holds bytes that look random, which "+form["en"]+" cannot hold"+en
	default:
		share := strconv.Itoa(int(100 * r.After))
		ja, en = name+" の中身の "+share+" % が、以前と違い、乱数のように見えます"+ja, share+" % of the content of "+name+" looks random, and did not before"+en
	}
	return detect.Rule{ID: AlertFlagged, Level: event.Critical, Tags: tags(x),
		Title: detect.Text{"ja": "バックアップのダンプやディスクに、暗号化の跡がある", "en": "A dump or a disk in a backup looks as if it had been encrypted"},
		What:  detect.Text{"ja": s.Name + " の " + at + " のバックアップ: " + ja, "en": "Backup of " + s.Name + " of " + at + ": " + en},
		Affects: detect.Text{"ja": "このダンプやディスクからは、データベースや仮想マシンを戻せないおそれがあります。元のデータも暗号化されている最中かもしれません。",
			"en": "The database or the virtual machine may not come back from it, and the data itself may be being encrypted right now."},
		Next: detect.Text{"ja": "1. データベースや仮想マシンが今も正しく動いているか、ダンプを作るプログラムや置き場所が変わっていないかを確かめる。 2. 心当たりがなければ、機器をネットワークから切り離し、事案にする。 3. 保管庫の世代は消えないように凍結済み。 4. 「守り」の「世代」で、最後のきれいな時点を確かめ、人が確定する。 5. 予定した変更(ディスクの暗号化など)なら、同じページに変更番号とともに記録し、凍結を解く。",
			"en": "1. See whether the database or the virtual machine still works, and whether the program that dumps or its folder was changed. 2. If nobody can say why, cut the machine off and open an incident. 3. Its snapshots are frozen already. 4. On the page Snapshots below Protection, check the last clean point and confirm it. 5. If it was planned, as the encryption of a disk is, say so there with the number of the change, and end the freeze."}}
}

// formWords names forms as the catalogue does.
func formWords(form string) map[string]string {
	return map[string]string{"ja": i18n.T(i18n.Japanese, "protect.anomaly.form."+form, nil), "en": i18n.T(i18n.English, "protect.anomaly.form."+form, nil)}
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
	case is(RuleDamage, RuleNoise, RuleSlow, RuleQuestion, RuleHead, RuleInside, RuleScrambled):
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
