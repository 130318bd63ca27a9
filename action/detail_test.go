package action

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/i18n"
)

// Every form that an agent sends has its sentence, in both languages.
func TestDetailsHaveTheirWords(t *testing.T) {
	for text, want := range map[string][2]string{
		"heartbeat after 0 ms":                          {"ハブから0.1秒以内に返事があった", "the hub answered within 0.1 s"},
		"heartbeat after 340 ms":                        {"ハブから0.4秒以内に返事があった", "the hub answered within 0.4 s"},
		"3 heartbeats, last: EOF":                       {"3回試したが、ハブから返事がなかった", "the hub did not answer, tried 3 times"},
		"no answer within 700 ms":                       {"0.7秒待っても返事がなかった", "no answer in 0.7 s"},
		"it answered":                                   {"返事があった（まだ通信できている）", "it answered: it can still be reached"},
		"not-applied: no such rule":                     {"機器の通信規則を書き換えられませんでした。", "The machine's network rules could not be changed."},
		"passed 0 bytes, dropped 2848 bytes":            {"遮断後に通った量: 0バイト（止めた量: 2848バイト）", "0 bytes passed since the block, 2848 bytes were dropped"},
		"interface 7 is off":                            {"ポート（番号7）は止まっている", "interface 7 is off"},
		"port 3 is in VLAN 99":                          {"ポート3はVLAN 99にある", "port 3 is in VLAN 99"},
		"not fetched yet":                               {"一覧に載せたが、装置がまだ取りに来ていない", "it is on the list, which was not fetched since"},
		"not-restored: device-silent: timeout":          {"装置に解除を指示できません。ハブは指示を出し続けます。急ぐときは装置の管理画面で元に戻してください。", "The device cannot be told to undo it. The hub keeps trying. If it is urgent, put it back on the device's own console."},
		"missing 23 of 53":                              {"53件のうち23件は、全部または一部を取れなかった。理由は証拠袋にある", "23 of 53 items could not be taken, or only in part; the bag says why"},
		"it refused the connection: packets still pass": {"接続を断る返事があった（まだ通信できている）", "it refused the connection: it can still be reached"},
		"not an address: nothing was tried":             {"宛先の形が正しくないため、試していない", "not tried: the target is not an address"},
	} {
		key, args := Detail(text)
		got := [2]string{i18n.T(i18n.Japanese, key, args), i18n.T(i18n.English, key, args)}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q:\n%s", text, d)
		}
	}
	for _, text := range []string{"", "open /var/lib/x: denied", "words of a newer agent: 7"} {
		if key, _ := Detail(text); key != "" {
			t.Errorf("%q is taken for %s", text, key)
		}
	}
}
