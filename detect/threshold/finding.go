package threshold

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
)

// RulePrefix begins the ids of the rules that limits stand for.
const RulePrefix = "sonae-threshold-"

// words are what people are told of a measure; %[1]s is what it is measured of,
// %[2]s the value.
type words struct{ title, what, affects, next detect.Text }

// finding is what people are told of a firing.
func finding(f Firing, at time.Time) detect.Finding {
	w := said[f.Name]
	object := f.Object
	if object == "" {
		object = f.Name
	}
	fill := func(t detect.Text) detect.Text {
		return detect.Text{"ja": fmt.Sprintf(t["ja"], object, amount(f, "ja")), "en": fmt.Sprintf(t["en"], object, amount(f, "en"))}
	}
	sum := sha256.Sum256([]byte(RulePrefix + f.ID))
	e := event.Event{ID: f.ID, Time: at, Site: f.Site, Host: f.Host, Kind: event.KindHealth, Product: "sonae", Service: "threshold",
		Fields: map[string]string{"Measure": f.Name, "Object": f.Object, "Value": strconv.FormatFloat(f.Value, 'f', 3, 64),
			"Limit": strconv.FormatFloat(f.Limit.On, 'f', 3, 64), "Detail": f.Detail}}
	return detect.Finding{ID: hex.EncodeToString(sum[:16]), Time: at, Site: f.Site, Host: f.Host, Events: []event.Event{e},
		Rule: detect.Rule{ID: RulePrefix + f.Name, Level: f.Limit.Level, Title: w.title, What: fill(w.what), Affects: w.affects, Next: w.next, Tags: []string{"sonae.health"}}}
}

// amount writes a value as people read it.
func amount(f Firing, lang string) string {
	unit := map[string][2]string{"days": {"日", " days"}, "hours": {"時間", " hours"}, "seconds": {"秒", " seconds"}}
	in := func(name, format string, v float64) string {
		word := unit[name][1]
		if lang == "ja" {
			word = unit[name][0]
		}
		return fmt.Sprintf(format, v) + word
	}
	switch f.Name {
	case "cpu", "memory", "disk", "inodes":
		return fmt.Sprintf("%.0f%%", 100*f.Value)
	case "fills", "backup":
		return in("hours", "%.0f", f.Value)
	case "certificate":
		return in("days", "%.0f", f.Value)
	case "clock", "clock-spread":
		return in("seconds", "%.1f", f.Value)
	}
	return f.Detail
}

// said has a line for each of Names. The rest of a sentence may hold the
// placeholders of alert.Alert.Say.
var said = map[string]words{
	"cpu": {
		detect.Text{"ja": "CPUの高い負荷が続いている", "en": "The processors have been busy for long"},
		detect.Text{"ja": "{site}の{host}で、CPUの使用率が%[2]sのまま続いています(対象: %[1]s)。", "en": "On {host} at {site} the processors stay %[2]s busy (%[1]s)."},
		detect.Text{"ja": "応答が遅くなります。暗号資産の採掘や、ファイルの暗号化が動いているときもこうなります。", "en": "It answers slowly. Mining and the encryption of files look like this, too."},
		detect.Text{"ja": "1. 機器の「事象」で、動いているプログラムを見る。\n2. 覚えのない処理なら事案を開く。\n3. 業務の処理なら、しきい値か保守時間を見直す。", "en": "1. See under the events of the machine what runs.\n2. If nobody knows the program, open an incident.\n3. If it is ordinary work, change the threshold or plan a window."},
	},
	"memory": {
		detect.Text{"ja": "メモリーが残り少ない", "en": "Memory is nearly used up"},
		detect.Text{"ja": "{site}の{host}で、メモリーの使用率が%[2]sです(対象: %[1]s)。", "en": "On {host} at {site} %[2]s of the memory is used (%[1]s)."},
		detect.Text{"ja": "使い切ると、OSがプログラムを止めます。どれが止まるかは選べません。", "en": "When it is used up the system ends programs, and nobody chooses which."},
		detect.Text{"ja": "1. 多く使っているプログラムを確かめる。\n2. 業務に影響のない時間に再起動を計画する。", "en": "1. See which program uses most.\n2. Plan a restart at a time that hurts nobody."},
	},
	"disk": {
		detect.Text{"ja": "ディスクの空きが少ない", "en": "A volume is nearly full"},
		detect.Text{"ja": "{site}の{host}で、%[1]s が %[2]s まで使われています。", "en": "On {host} at {site} %[2]s of %[1]s is used."},
		detect.Text{"ja": "満杯になると、データベースや記録の書き込みが止まります。大量の複製や暗号化が原因のこともあります。", "en": "When it is full, databases and logs can no longer be written. Mass copies or encryption may be the cause."},
		detect.Text{"ja": "1. 何が増えたかを確かめる。証拠になる記録は消さない。\n2. 要らない一時ファイルを消すか、容量を増やす。", "en": "1. See what grew. Never delete logs that may be evidence.\n2. Delete temporary files, or add space."},
	},
	"inodes": {
		detect.Text{"ja": "ファイルの数が上限に近い", "en": "A volume nearly has no room for more files"},
		detect.Text{"ja": "{site}の{host}で、%[1]s に作れるファイルの数が %[2]s まで使われています。", "en": "On {host} at {site} %[2]s of the files that %[1]s can hold exist."},
		detect.Text{"ja": "空き容量があっても、新しいファイルを作れなくなります。", "en": "No new file can be made, even with space left."},
		detect.Text{"ja": "1. 小さなファイルが増え続けるフォルダー(一時ファイル、メールの待ち行列、セッション)を探す。", "en": "1. Look for a folder with ever more small files: temporary files, mail queues, sessions."},
	},
	"fills": {
		detect.Text{"ja": "ディスクがまもなく満杯になる", "en": "A volume will soon be full"},
		detect.Text{"ja": "{site}の{host}の %[1]s は、このまま増え続けると約%[2]sで満杯になります。", "en": "%[1]s of {host} at {site} will be full in about %[2]s if it goes on like this."},
		detect.Text{"ja": "満杯になると、データベースや記録の書き込みが止まります。", "en": "When it is full, databases and logs can no longer be written."},
		detect.Text{"ja": "1. 何が増えているかを確かめる。大量の複製や暗号化なら事案を開く。\n2. 夜間に満杯になるなら、今のうちに空きを作る。", "en": "1. See what grows. If it is mass copying or encryption, open an incident.\n2. If it would be full at night, make room now."},
	},
	"service": {
		detect.Text{"ja": "サービスが止まっている", "en": "A service does not run"},
		detect.Text{"ja": "{site}の{host}で、%[1]s が動いていません: %[2]s", "en": "On {host} at {site} %[1]s does not run: %[2]s"},
		detect.Text{"ja": "止まったサービスに頼る業務が止まります。攻撃者は暗号化の前に、データベースやウイルス対策を止めます。", "en": "Work that needs it stops. Attackers stop databases and antivirus before they encrypt."},
		detect.Text{"ja": "1. 予定の作業か確かめる。\n2. ほかのサービスも同時に止まっていれば、事案を開き、再起動の前に証拠を保全する。\n3. そうでなければ起動し、止まった理由を記録で確かめる。", "en": "1. Is it planned work?\n2. If other services stopped with it, open an incident and preserve evidence before a restart.\n3. Otherwise start it and read in the logs why it stopped."},
	},
	"certificate": {
		detect.Text{"ja": "証明書の期限が近い", "en": "A certificate will soon expire"},
		detect.Text{"ja": "{site}の{host}で、証明書 %[1]s の期限まであと%[2]sです。", "en": "The certificate %[1]s on {host} at {site} lasts %[2]s more."},
		detect.Text{"ja": "期限が切れると、つながらなくなるか、利用者が警告に慣れてしまいます。", "en": "After that nobody can connect, or people get used to warnings."},
		detect.Text{"ja": "1. 発行元に更新を申し込む。\n2. 更新したら、サービスが新しい証明書を使っているかを確かめる。", "en": "1. Ask the issuer for a new one.\n2. Then see that the service uses it."},
	},
	"clock": {
		detect.Text{"ja": "時計がずれている", "en": "A clock is wrong"},
		detect.Text{"ja": "{site}の{host}の時計が、ほかの時計と%[2]sずれています(対象: %[1]s)。", "en": "The clock of {host} at {site} is %[2]s away from others (%[1]s)."},
		detect.Text{"ja": "記録の時刻が合わず、何が先に起きたかを証明しにくくなります。認証が失敗することもあります。", "en": "Times in logs do not match, so that the order of events is hard to prove. Log-ins may fail."},
		detect.Text{"ja": "1. 時刻合わせのサービス(chrony など)が動いているか、時刻サーバーに届くかを確かめる。\n2. 事案の最中なら、直す前にずれの大きさを記録する。", "en": "1. Does the time service (chrony or the like) run, and does it reach its server?\n2. During an incident, write the offset down before it is corrected."},
	},
	"clock-spread": {
		detect.Text{"ja": "どの時計が正しいか分からない", "en": "Nobody knows which clock is right"},
		detect.Text{"ja": "{site}の{host}から見て、時刻の情報源が%[2]s食い違っています(対象: %[1]s)。", "en": "Seen from {host} at {site} the sources of time differ by %[2]s (%[1]s)."},
		detect.Text{"ja": "記録の時刻を信用できません。", "en": "Times in logs cannot be trusted."},
		detect.Text{"ja": "1. ハブと時刻サーバーの時計を、別の時計(電話の時報など)と比べる。\n2. 時刻サーバーをもう一つ設定する。", "en": "1. Compare the hub's and the time server's clock with another one.\n2. Configure one more time server."},
	},
	"backup": {
		detect.Text{"ja": "バックアップが古い", "en": "A backup is old"},
		detect.Text{"ja": "{site}の{host}で、バックアップ %[1]s の最後の成功から%[2]sたっています。", "en": "The backup %[1]s of {host} at {site} succeeded last %[2]s ago."},
		detect.Text{"ja": "いま失われると、その間のデータは戻りません。攻撃者はまずバックアップを止めます。", "en": "What is lost now cannot be restored from since then. Attackers stop backups first."},
		detect.Text{"ja": "1. バックアップのプログラムの記録で、失敗の理由を見る。\n2. だれかが設定や保存先を変えていれば、事案を開く。\n3. 直したら、一度手で実行して確かめる。", "en": "1. Read in its log why it failed.\n2. If somebody changed its configuration or target, open an incident.\n3. Then run it by hand once."},
	},
	"backup-failed": {
		detect.Text{"ja": "バックアップが失敗した", "en": "A backup failed"},
		detect.Text{"ja": "{site}の{host}で、バックアップ %[1]s が正常ではありません: %[2]s", "en": "The backup %[1]s of {host} at {site} is not well: %[2]s"},
		detect.Text{"ja": "いま失われると、その間のデータは戻りません。攻撃者はまずバックアップを止めます。", "en": "What is lost now cannot be restored from since then. Attackers stop backups first."},
		detect.Text{"ja": "1. バックアップのプログラムの記録で、失敗の理由を見る。\n2. だれかが設定や保存先を変えていれば、事案を開く。\n3. 直したら、一度手で実行して確かめる。", "en": "1. Read in its log why it failed.\n2. If somebody changed its configuration or target, open an incident.\n3. Then run it by hand once."},
	},
}
