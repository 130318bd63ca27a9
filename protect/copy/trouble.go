package copy

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
)

// Trouble is a copy that people must look after.
type Trouble struct {
	Place  Place  `json:"place"`
	Result Result `json:"result"`
}

// words of a problem: title, what it means, what to do.
var words = map[string]struct {
	level              event.Severity
	title, what, todos detect.Text
}{
	Damage: {event.High, detect.Text{"ja": "バックアップの写しが壊れている", "en": "A copy of a backup is damaged"},
		detect.Text{"ja": "読み戻したところ、書いたときと違う内容がありました。", "en": "Read back, it was not what had been written."},
		detect.Text{"ja": "1. 写しのページで、壊れたファイルと、書き直せたかどうかを見ます。 2. 媒体や装置の故障を確かめます。", "en": "1. See on the page of copies which files are damaged and whether they were written anew. 2. Check the medium or the storage for faults."}},
	Touched: {event.Critical, detect.Text{"ja": "バックアップの写しに誰かが手を加えた", "en": "Somebody touched a copy of a backup"},
		detect.Text{"ja": "写しのファイルが消されたか、別の内容で覆われました。", "en": "Files of the copy were removed, or something was laid over them."},
		detect.Text{"ja": "1. 保管先の利用者の鍵が漏れていないか調べ、鍵を替えます。 2. 固定した版は残っています。ハブは足りないものを書き直します。 3. ハブにあるこの機器の控えは凍結しました。整理(世代の削除)は進みません。人が確かめてから、保管庫のページで解きます。", "en": "1. Find out whether the log-in of the storage has leaked, and change it. 2. Locked versions are still there. The hub lays down anew what is missing. 3. What the hub keeps of this machine is frozen: no snapshot goes. Once a person has looked, end that on the page of its repository."}},
	SourceDamaged: {event.Critical, detect.Text{"ja": "ハブのバックアップが壊れている", "en": "The backup at the hub is damaged"},
		detect.Text{"ja": "写す前の確認で、ハブの保管庫に壊れたファイルが見つかりました。", "en": "Before it was copied, a file of the repository at the hub turned out to be damaged."},
		detect.Text{"ja": "1. ハブのディスクを確かめます。 2. 写しは上書きされていません。写しから戻せるかを調べます。", "en": "1. Check the hub's disk. 2. The copies were not overwritten: see whether the file can be taken from one."}},
	LockLost: {event.Critical, detect.Text{"ja": "写しの保管先が固定を守らない", "en": "The storage of a copy does not hold its lock"},
		detect.Text{"ja": "消せないはずのものを消せるか、期限を短くできる状態です。", "en": "What must not be removable can be removed, or its time can be shortened."},
		detect.Text{"ja": "1. バケットのオブジェクトロックと版の管理を確かめます。 2. 直るまで、この写しは「届かない写し」に数えません。 3. ハブにあるこの機器の控えは凍結しました。整理(世代の削除)は進みません。人が確かめてから、保管庫のページで解きます。", "en": "1. Check object lock and versioning of the bucket. 2. Until then this copy does not count as out of reach. 3. What the hub keeps of this machine is frozen: no snapshot goes. Once a person has looked, end that on the page of its repository."}},
	Failed: {event.Medium, detect.Text{"ja": "バックアップの写しを作れない", "en": "A copy of a backup could not be made"},
		detect.Text{"ja": "保管先に届かないか、空きがありません。", "en": "The place cannot be reached, or has no room."},
		detect.Text{"ja": "1. 経路・電源・空き容量を確かめます。 2. ハブは 15 分ごとにやり直します。", "en": "1. Check the way to it, its power and its room. 2. The hub tries again every 15 minutes."}},
}

// Finding is what people see as an alert: one for each place, agent and problem
// on a day. site is the one of the machine, as a place may be for all of them.
// Whoever harms one copy goes for the others next: tampering is tagged so that
// what is kept of the machine is frozen. It is no proof that the machine itself
// is in wrong hands, so that its path to the hub stays open (detect.TagScored).
func (t Trouble) Finding(site string) detect.Finding {
	r := t.Result
	w, ok := words[r.Problem]
	if !ok {
		w = words[Failed]
	}
	var tags []string
	if r.Tampered {
		tags = []string{"attack.impact", detect.TagTampering, detect.TagScored}
	}
	sum := sha256.Sum256([]byte("sonae-copy " + r.PlaceID + "/" + r.Agent + "/" + r.Problem + "/" + r.Began.Format(time.DateOnly)))
	id := hex.EncodeToString(sum[:16])
	e := event.Event{ID: "copy-" + id, Time: r.Began, Site: site, Host: r.Agent, Kind: event.KindHealth, Product: "sonae", Service: "copy",
		Fields: map[string]string{"Place": t.Place.Name, "Problem": r.Problem, "Why": r.Why, "Damages": strconv.Itoa(r.Damages), "Repaired": strconv.Itoa(r.Repaired)}}
	return detect.Finding{
		ID: id, Time: r.Began, Site: site, Host: r.Agent, Events: []event.Event{e},
		Rule: detect.Rule{ID: "sonae-copy-" + r.Problem[strings.LastIndex(r.Problem, ".")+1:], Level: w.level, Tags: tags, Title: w.title, What: w.what, Next: w.todos,
			Affects: detect.Text{"ja": t.Place.Name + " にある " + r.Agent + " の写し", "en": "The copy of " + r.Agent + " at " + t.Place.Name}},
	}
}
