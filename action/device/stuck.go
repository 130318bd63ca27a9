package device

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
)

// Finding is the alarm that a person must see: a machine may be cut off
// although nobody wants it any more.
func (s Stuck) Finding() detect.Finding {
	sum := sha256.Sum256([]byte("sonae-device-stuck " + s.Action))
	targets := strings.Join(s.Targets, " ")
	e := event.Event{ID: "stuck-" + s.Action, Time: s.At, Site: s.Site, Host: s.Device, Kind: event.KindHealth, Product: "sonae", Service: "device",
		Fields: map[string]string{"Device": s.Name, "Targets": targets, "Action": s.Action, "Why": s.Why}}
	return detect.Finding{
		ID: hex.EncodeToString(sum[:16]), Time: s.At, Site: s.Site, Host: s.Device, Events: []event.Event{e},
		Rule: detect.Rule{ID: "sonae-device-stuck", Level: event.Critical,
			Title:   detect.Text{"ja": "遮断を解除できない装置がある", "en": "A device cannot be told to undo a block"},
			What:    detect.Text{"ja": s.Name + " に、" + targets + " の遮断を解除するよう指示できません。", "en": s.Name + " cannot be told to undo the block of " + targets + "."},
			Affects: detect.Text{"ja": targets + " は、期限が過ぎても通信できないままです。", "en": targets + " stays cut off although the time is over."},
			Next: detect.Text{"ja": "1. 装置の電源と、ハブからの経路を確かめます。 2. 急ぐときは、装置の管理画面で元に戻します。ハブは指示を出し続け、戻ったことを確かめます。",
				"en": "1. Check the device's power and the way from the hub to it. 2. If it is urgent, put it back on the device's own console. The hub keeps trying and will notice."}},
	}
}
