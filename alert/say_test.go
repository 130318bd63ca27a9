package alert

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/rules"
)

func TestSay(t *testing.T) {
	text := detect.Text{
		"ja": "{site}の{host}が{peers}と通信。送信 {sent}、受信 {received}。{process}(利用者 {user})、{count}回。{nope}",
		"en": "{host} at {site} talks to {peers}; {process} ({user}).",
	}
	full := Alert{
		Site: "cc", Host: "h-1", Sent: 12345678, Received: 999, Count: 7, PeersAll: 12, Addresses: 9,
		Peers:   []Peer{{Address: "192.0.2.1:6881"}, {Address: "192.0.2.1:51413"}, {Address: "[2001:db8::1]:1"}, {Address: "192.0.2.3:1"}, {Address: "192.0.2.4:1"}},
		Process: []Process{{Image: "/usr/bin/transmission-daemon", User: "tanaka"}, {Image: `C:\Tools\aria2c.exe`, User: "tanaka"}},
	}
	names := map[string]string{"cc": "コールセンター", "h-1": "PC-12"}
	for name, tt := range map[string]struct {
		a     Alert
		lang  string
		names map[string]string
		want  string
	}{
		"japanese":       {full, "ja", names, "コールセンターのPC-12が192.0.2.1、2001:db8::1、192.0.2.3 ほか 6 か所と通信。送信 12.3 MB、受信 999 B。transmission-daemon、aria2c.exe(利用者 tanaka)、7回。{nope}"},
		"english":        {full, "en", names, "PC-12 at コールセンター talks to 192.0.2.1, 2001:db8::1, 192.0.2.3 and 6 more; transmission-daemon, aria2c.exe (tanaka)."},
		"names by kind":  {Alert{Site: "a", Host: "b"}, "en", map[string]string{"site": "A", "host": "B"}, "B at A talks to unknown; unknown (unknown)."},
		"without names":  {Alert{Site: "a", Host: "b"}, "en", nil, "b at a talks to unknown; unknown (unknown)."},
		"other language": {Alert{Site: "a", Host: "b"}, "fr", nil, "aのbが不明と通信。送信 0 B、受信 0 B。不明(利用者 不明)、0回。{nope}"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.a.Say(text, tt.lang, tt.names); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	if got := full.Say(nil, "ja", nil); got != "" {
		t.Errorf("no text gives %q", got)
	}
}

func TestEveryTextOfThePackCanBeSaid(t *testing.T) {
	engine, _, err := detect.Load(rules.FS)
	if err != nil {
		t.Fatal(err)
	}
	a := Alert{Site: "s", Host: "h"}
	listed := strings.NewReplacer("{list}", "a list", "{indicator}", "192.0.2.1", "{confidence}", "50") // package detect says these
	for _, r := range engine.Rules() {
		for _, text := range []detect.Text{r.Title, r.What, r.Affects, r.Next} {
			for _, lang := range []string{"ja", "en"} {
				if got := listed.Replace(a.Say(text, lang, nil)); got == "" || strings.ContainsAny(got, "{}") {
					t.Errorf("rule %s in %s: %q", r.ID, lang, got)
				}
			}
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999949: "999.9 kB", 999950: "1.0 MB", 12345678: "12.3 MB", 5e9: "5.0 GB", 1 << 62: "4.6 EB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func ExampleAlert_Say() {
	a := Alert{Host: "pc-12", Sent: 2_500_000}
	fmt.Println(a.Say(detect.Text{"ja": "{host}から{sent}が外へ出ました。"}, "ja", nil))
	// Output: pc-12から2.5 MBが外へ出ました。
}
