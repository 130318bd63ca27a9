package vault

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/protect/repository"
)

// Rules of findings about repositories.
const (
	RuleTampering = "sonae-backup-tampering"
	RuleOdd       = "sonae-backup-odd"
	RuleClock     = "sonae-backup-clock"
	RuleClockBack = "sonae-backup-clock-back"
	RuleRoom      = "sonae-backup-room"
	RuleDamage    = "sonae-backup-damage"
	RuleUnread    = "sonae-backup-unread"
	RuleGrowth    = "sonae-backup-growth"
	RulePrune     = "sonae-backup-prune"
)

// tagImpact: all of them are about whether data can be brought back.
const tagImpact = "attack.impact"

func rules() map[string]detect.Rule {
	all := []detect.Rule{
		{ID: RuleTampering, Level: event.High, Tags: []string{tagImpact, tagInhibited, tagTampering}, Propose: "isolate",
			Title: detect.Text{"ja": "控えを壊そうとする操作を保管庫が拒みました", "en": "The repository refused an attempt to harm backups"},
			What: detect.Text{"ja": "{host} の資格情報で、保管庫の中身を消す・書き換える・偽るといった、ふつうの控えの取り方では起きない操作がありました。すべて拒み、控えは無事です。対象は What、理由は Reason にあります。",
				"en": "With the credentials of {host} somebody tried to remove, replace or fake what the repository holds, which no ordinary backup does. All of it was refused and the backups are intact. What names the files, Reason says why."},
			Affects: detect.Text{"ja": "侵入者は暗号化の前に控えを消します。その機器の資格情報は盗まれたものとして扱ってください。拠点の保管庫への経路は自動で切れ、控えは取れませんが、復元のために読むことはできます。",
				"en": "Intruders remove backups before they encrypt. Treat the credentials of that machine as stolen. The path of the site to its repositories is cut by itself: no backups are made, but what is there can be read to bring it back."},
			Next: detect.Text{"ja": "1. その機器で誰かが restic の forget や prune を手で実行しなかったか、電話で確かめます。 2. 心当たりがなければ、その機器を隔離し、証拠を保全します。 3. 同じ拠点の他の機器に、暗号化の前ぶれの警報がないかを見ます。 4. 原因が分かってから、理由を書いて保管庫への経路を戻します。",
				"en": "1. Phone: did somebody run restic's forget or prune there by hand? 2. If nobody did, isolate the machine and preserve evidence. 3. Look for alerts about encryption on other machines of the site. 4. Once the cause is known, release the path with the reason."}},
		{ID: RuleOdd, Level: event.Medium, Tags: []string{tagImpact},
			Title: detect.Text{"ja": "保管庫が合わないファイルを拒みました", "en": "The repository refused a file that does not fit"},
			What: detect.Text{"ja": "{host} から来たファイルの名前か鍵が合わず、受け取りませんでした。対象は What、理由は Reason にあります。",
				"en": "A file that came from {host} did not fit by its name or key and was not taken. What names it, Reason says why."},
			Affects: detect.Text{"ja": "その回の控えは完成していないおそれがあります。メモリーや通信の故障でも起きます。繰り返せば、控えを壊そうとする操作として扱います。",
				"en": "That backup may not be complete. Faulty memory or a faulty line cause it too. When it happens again and again it counts as tampering."},
			Next: detect.Text{"ja": "1. 次の控えが取れたかを見ます。 2. 繰り返すなら、機器の点検と侵入の両方を疑います。",
				"en": "1. See whether the next backup succeeds. 2. If it happens again, suspect the machine and an intruder."}},
		{ID: RuleClock, Level: event.Medium, Tags: []string{tagImpact},
			Title: detect.Text{"ja": "機器の時計が合わず、控えの時刻が正しくありません", "en": "The clock of a machine is wrong, and so is the time of its backups"},
			What: detect.Text{"ja": "{host} の控えの時刻 {Time} が、ハブの時計と {Off} ずれています。機器の時計か、ハブの時計が違っています。進んでいる控えは受け取っていません。遅れている控えは受け取りました。",
				"en": "The time {Time} of a backup of {host} is {Off} off the hub's clock. The clock of the machine or that of the hub is wrong. A backup that is ahead was not taken; one that is behind was."},
			Affects: detect.Text{"ja": "時計が進んでいる間、restic を手で使う控えは取れません。遅れていれば、控えの時刻で世代を選ぶときに取り違えます。時計だけが理由では、保管庫への経路は切れません。",
				"en": "While it is ahead, backups by hand with restic are not taken. While it is behind, a generation that is chosen by its time is the wrong one. A clock alone never cuts the path to the repository."},
			Next: detect.Text{"ja": "1. その機器とハブの時計を、正しい時計と見比べます。 2. 違うほうを合わせ、時刻の同期(NTP)を直します。 3. 次の控えが取れたかを見ます。",
				"en": "1. Compare the clocks of that machine and of the hub with a right one. 2. Set the one that is wrong and repair its time synchronisation (NTP). 3. See whether the next backup succeeds."}},
		{ID: RuleClockBack, Level: event.Medium, Tags: []string{tagImpact},
			Title: detect.Text{"ja": "ハブの時計が戻りました", "en": "The hub's clock was set back"},
			What: detect.Text{"ja": "{host} の保管庫は {Time} までの記録を持ち、ハブの時計はそれより {Off} 遅れています。ハブの時計は、一度進みすぎてから戻ったか、今が遅れています。",
				"en": "The repository of {host} has received files until {Time}, and the hub's clock is {Off} behind that. It was ahead and came back, or it is behind now."},
			Affects: detect.Text{"ja": "控えは無事で、これからも受け取り、読めます。ただし、時計が追いつくまでに届いた控えは、受け取った時刻が実際より後になります。時点を選んで戻すときに注意してください。",
				"en": "Backups are intact, are taken and can be read. But what comes until the clock has caught up has a time of receipt that is too late: mind it when you restore as of a time."},
			Next: detect.Text{"ja": "1. ハブの時計を、正しい時計と見比べます。 2. 時刻の同期(NTP)を直します。 3. 誰かが時計を変えたのなら、その理由を確かめます。",
				"en": "1. Compare the hub's clock with a right one. 2. Repair its time synchronisation (NTP). 3. If somebody set it, find out why."}},
		{ID: RuleRoom, Level: event.High, Tags: []string{tagImpact},
			Title: detect.Text{"ja": "保管庫に空きがなく、控えを受け取れません", "en": "A repository has no room for backups"},
			What:  detect.Text{"ja": "{host} の控えは、割り当てた容量かハブのディスクがいっぱいで、受け取れませんでした。", "en": "Backups of {host} were not taken because its quota or the hub's disk is full."},
			Affects: detect.Text{"ja": "すでにある控えは無事です。空きを作るために消すことはありません。ただし、新しい控えは取れません。侵入者が保管庫を埋めようとしているおそれもあります。",
				"en": "What is there is intact and nothing is removed to make room. But no new backups are made. An intruder may be filling the repository on purpose."},
			Next: detect.Text{"ja": "1. 受け取った量がふだんより多くないかを、保管庫のページで見ます。 2. ふつうの増え方なら、割り当てかディスクを増やします。 3. 急に増えたのなら、その機器を調べます。",
				"en": "1. See on the repository's page whether more than usual came. 2. If it grew as usual, raise the quota or add disks. 3. If it grew suddenly, look into that machine."}},
		{ID: RuleDamage, Level: event.High, Tags: []string{tagImpact},
			Title:   detect.Text{"ja": "控えの中に壊れたファイルが見つかりました", "en": "A damaged file was found in a repository"},
			What:    detect.Text{"ja": "{host} の保管庫を読み直したところ、壊れたか失われたファイルがありました。{Damage}", "en": "Reading the repository of {host} again found files that are damaged or lost: {Damage}"},
			Affects: detect.Text{"ja": "そのファイルを使う世代は、元に戻せないおそれがあります。ハブのディスクの故障か、誰かがフォルダーに触れたことが原因です。", "en": "Generations that need them may not be restorable. A failing disk of the hub is the cause, or somebody who touched the folder."},
			Next: detect.Text{"ja": "1. ハブのディスクの状態を見ます。 2. 写し(別の場所の控え)から、その名前のファイルを戻します。 3. 保管庫のページで「すべて読む」を実行し、直ったことを確かめます。 4. 写しもなければ、すぐに新しい控えを取ります。",
				"en": "1. Check the hub's disks. 2. Bring the file of that name back from a copy. 3. Run 'Read all' on the repository's page to see that it is mended. 4. Without a copy, make a new backup at once."}},
		{ID: RuleUnread, Level: event.Medium, Tags: []string{tagImpact},
			Title:   detect.Text{"ja": "保管庫の読み直しを実行できませんでした", "en": "A repository could not be read again"},
			What:    detect.Text{"ja": "{host} の保管庫の読み直しが、途中で止まりました。理由は Reason にあります。", "en": "Reading the repository of {host} again ended early. Reason says why."},
			Affects: detect.Text{"ja": "控えが壊れているとは限りませんが、無事とも言えません。", "en": "Nothing says that the backups are damaged, nor that they are sound."},
			Next:    detect.Text{"ja": "1. ハブのディスクと記録を見ます。 2. 保管庫のページで「すべて読む」を実行します。", "en": "1. Look at the hub's disks and log. 2. Run 'Read all' on the repository's page."}},
		{ID: RulePrune, Level: event.Medium, Tags: []string{tagImpact},
			Title:   detect.Text{"ja": "承認された世代の整理を実行できませんでした", "en": "Letting snapshots go was approved and could not be carried out"},
			What:    detect.Text{"ja": "{host} の保管庫の世代の整理が途中で止まりました。何も消えていません。理由は Reason にあります。", "en": "Pruning the repository of {host} ended early. Nothing went. Reason says why."},
			Affects: detect.Text{"ja": "控えは無事です。保管庫の空きは増えていません。壊れたファイルが理由のこともあります。", "en": "Backups are intact. No room was gained. A damaged file may be the reason."},
			Next:    detect.Text{"ja": "1. 保管庫のページで「すべて読む」を実行し、壊れたファイルがないかを確かめます。 2. ディスクの空きを見ます(整理の間は、書き直す分の空きが要ります)。 3. もう一度、世代の整理を頼みます。", "en": "1. Run 'Read all' on the repository's page to see whether anything is damaged. 2. See whether the disk has room: what is rewritten needs some meanwhile. 3. Ask for it again."}},
		{ID: RuleGrowth, Level: event.Medium, Tags: []string{tagImpact},
			Title:   detect.Text{"ja": "保管庫に届く量がふだんよりずっと多くなりました", "en": "Much more than usual came into a repository"},
			What:    detect.Text{"ja": "{host} から24時間に {Bytes} バイトが届きました。ふだんは {Usual} バイトです。", "en": "{Bytes} bytes came from {host} within 24 hours; usually {Usual} do."},
			Affects: detect.Text{"ja": "暗号化されたファイルは圧縮も重複の除去もできないため、急に増えます。大きなデータの取り込みでも起きます。", "en": "Encrypted files can be neither compressed nor deduplicated, so that they show as growth. A large import does so too."},
			Next:    detect.Text{"ja": "1. 大きなデータを取り込んだかを、担当者に確かめます。 2. 心当たりがなければ、最新の世代を前の世代と比べます。", "en": "1. Ask whether much data was imported. 2. If not, compare the newest generation with the one before."}},
	}
	out := make(map[string]detect.Rule, len(all))
	for _, r := range all {
		out[r.ID] = r
	}
	return out
}

// finding makes a finding of a rule about an agent's repository; {NAME} in what
// the rule says is the field of that name. The same thing (unique) gives the same
// finding.
func finding(rule, agent, site, unique string, at time.Time, fields map[string]string) detect.Finding {
	told := rules()[rule]
	told.What = maps.Clone(told.What)
	for lang, text := range told.What {
		for name, value := range fields {
			text = strings.ReplaceAll(text, "{"+name+"}", value)
		}
		told.What[lang] = text
	}
	sum := sha256.Sum256([]byte(rule + " " + agent + " " + unique))
	id := hex.EncodeToString(sum[:16])
	e := event.Event{ID: "vault-" + id, Time: at, Site: site, Host: agent, Kind: event.KindHealth, Product: "sonae", Service: "vault", Fields: fields}
	return detect.Finding{ID: id, Time: at, Site: site, Host: agent, Events: []event.Event{e}, Rule: told}
}

// finding is what refusals of a class are for people; ok is false when nobody
// needs to know.
func (r Refusals) finding(c class, site string, reason error) (f detect.Finding, ok bool) {
	rule, ok := map[class]string{odd: RuleOdd, attack: RuleTampering, skewed: RuleClock, room: RuleRoom, lost: RuleDamage}[c]
	if !ok {
		return detect.Finding{}, false
	}
	fields := map[string]string{"What": strings.Join(r.What, "\n"), "Count": strconv.Itoa(r.Count), "Reason": reason.Error(), "Key": r.Key}
	unique := r.ID
	switch c {
	case lost:
		fields["Damage"] = fields["What"]
	case skewed:
		rule, unique = r.clock(reason, fields)
	}
	return finding(rule, r.Agent, site, unique, r.Last, fields), true
}

// clock says whose clock is wrong, and by how much. Every backup says the same
// until it is right again: it is one thing to be told, of a day or of one setting back.
func (r Refusals) clock(reason error, fields map[string]string) (rule, unique string) {
	var machine repository.Skewed
	var hub repository.SetBack
	switch {
	case errors.As(reason, &hub):
		fields["Time"], fields["Off"] = hub.Last.UTC().Format(time.RFC3339), hub.By.Round(time.Second).String()
		return RuleClockBack, fields["Time"]
	case errors.As(reason, &machine):
		fields["Time"], fields["Off"] = machine.Time.UTC().Format(time.RFC3339), machine.Ahead.Abs().Round(time.Second).String()
	}
	return RuleClock, r.Last.UTC().Format(time.DateOnly)
}
