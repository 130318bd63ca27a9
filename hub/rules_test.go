package hub_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/api"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect/pack/box"
	"github.com/sonae/sonae/detect/tuning"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/search"
)

const failedLogOn = `title: Log-on of a service account failed
id: pack-failed
level: high
license: DRL 1.1
logsource: {product: windows, category: authentication}
detection:
  s: {EventID: 4625, User|startswith: svc}
  condition: s
`

// TestPackIsTakenWhileTheHubRuns puts rules into the folder of a running hub:
// the good one raises an alert, the bad one is named, and a suppression holds
// until it is ended.
func TestPackIsTakenWhileTheHubRuns(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	h.Site("clinic", "hospital")
	agent, admin := h.Enrol("clinic", "pc-1"), h.FirstAdmin()
	c := h.Person("sato", "", auth.Responder)
	put := func(name string, data []byte) {
		t.Helper()
		path := filepath.Join(h.Dir, "rules", "vendor", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("failed.yml", []byte(failedLogOn))
	boxed, err := box.Encode(map[string][]byte{"more.yml": []byte(strings.Replace(failedLogOn, "pack-failed", "pack-boxed", 1))})
	if err != nil {
		t.Fatal(err)
	}
	put("more.pack", boxed)
	put("wrong.yml", []byte(strings.Replace(failedLogOn, "startswith", "beginswith", 1)))
	var list api.RulePage
	h.Await("the pack", func() bool {
		c.Must(http.MethodGet, "/rules?origin=pack", nil, &list)
		return list.Total == 2
	})
	if len(list.Rejected) != 1 || list.Rejected[0].File != "vendor/wrong.yml" || list.Rejected[0].Line != 7 {
		t.Errorf("rejected %+v", list.Rejected)
	}
	agent.Report(logOn("svc_backup", "first"), logOn("nurse", "first"))
	h.Await("an alert of the pack", func() bool { _, ok := alertOf(admin, "pack-failed"); return ok })
	h.Idle()

	var hush search.Tuned
	c.Must(http.MethodPost, "/rule-changes", api.RuleChangeFields{Rule: "pack-failed", Kind: "suppress", When: []tuning.Match{{Field: "User", Op: "is", Value: "svc_backup"}},
		Owner: "情報システム室", Reason: "夜間の控え", Until: time.Now().Add(time.Hour)}, &hush)
	h.Await("the suppression to be in force", func() bool {
		c.Must(http.MethodGet, "/rules?origin=pack", nil, &list)
		return !list.LoadedAt.Before(hush.MadeAt)
	})
	before, _ := alertOf(admin, "pack-failed")
	agent.Report(logOn("svc_backup", "second"), logOn("svc_other", "second"))
	h.Await("the other account", func() bool { now, _ := alertOf(admin, "pack-failed"); return now.Count > before.Count })
	h.Idle()
	if after, _ := alertOf(admin, "pack-failed"); after.Count != before.Count+1 {
		t.Errorf("%d findings, then %d; want one more", before.Count, after.Count)
	}
	c.Must(http.MethodPost, "/rule-changes/"+hush.ID+"/end", api.Reason{Reason: "終わった"}, nil)

	res, err := http.Get(h.Local + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	metrics, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if page := string(metrics); !strings.Contains(page, `sonae_rule_hits_total{rule="`) || !strings.Contains(page, `sonae_rules{state="rejected"} 1`) {
		t.Errorf("metrics of rules are missing:\n%s", page)
	}
}
