package main

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/auth/standing"
	"github.com/sonae/sonae/hub/hubtest"
)

// practised is what a hub leaves behind in which a practice incident was
// carried to its end, and what people took out of it.
type practised struct {
	hubtest.Case
	dir    string // of the hub, stopped in order
	bag    string // evidence as a zip file
	report string // a document as a page
	key    string // file with the public key of the ledger
}

func practise(t *testing.T) practised {
	t.Helper()
	p := practised{dir: hubtest.Folder(t)}
	h := hubtest.Start(t, hubtest.Dir(p.dir))
	p.Case = h.Drill()
	p.protect(t)
	out := t.TempDir()
	save := func(name string, b []byte) string {
		t.Helper()
		path := filepath.Join(out, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var b []byte
	p.Requester.Must(http.MethodPost, "/evidence/"+p.Bag.ID+"/zip", map[string]string{"purpose": "警察へ渡す訓練"}, &b)
	p.bag = save("bag.zip", b)
	p.Requester.Must(http.MethodGet, "/incidents/"+p.Incident.ID+"/reports/"+p.Document+"/html?lang=ja", nil, &b)
	p.report = save("report.html", b)
	p.key = save("key.txt", []byte(h.Key()+"\n"))
	save(keyFile, []byte(h.Key()+"\n")) // where verify looks for it
	h.Idle()
	h.Stop()
	return p
}

// protect enters what blocks must not do, who could carry them out and how the
// site is cut, each more than once, and takes one device away again.
func (p practised) protect(t *testing.T) {
	t.Helper()
	site := p.Alert.Site
	for _, why := range []string{"ネームサーバー", "ネームサーバーと時刻"} {
		p.Requester.Must(http.MethodPut, "/sites/"+site+"/blocks", map[string]any{"protected": []action.Protected{{What: "192.0.2.53", Why: why}}, "auto": false}, nil)
	}
	p.Requester.Must(http.MethodPost, "/policies", map[string]any{"name": "夜間の凍結", "site": site, "why": "夜は誰もいない",
		"text": standing.Draft{Kind: "freeze", Site: site, Severity: 4, Most: 1, Lease: time.Hour}.Text()}, nil)
	for _, name := range []string{"UTM", "SW-3F"} {
		var d device.Device
		in := map[string]any{"device": device.Device{Site: site, Name: name, Means: action.List}, "secrets": map[string]string{"secret": "list-token"}}
		p.Requester.Must(http.MethodPost, "/devices", in, &d)
		d.Name += " 東棟"
		p.Requester.Must(http.MethodPut, "/devices/"+d.ID, map[string]any{"device": d}, &d)
		if d.Version != 2 {
			t.Errorf("the device was changed once and has version %d", d.Version)
		}
		if name == "SW-3F" {
			p.Requester.Must(http.MethodDelete, "/devices/"+d.ID, nil, nil)
			continue
		}
		for _, target := range []string{"192.0.2.60", "192.0.2.61"} {
			p.Requester.Must(http.MethodPut, "/sites/"+site+"/cut", map[string]any{"sections": []action.Section{
				{Stage: action.BackupPath, Name: "控えの倉庫", Stops: "夜の控えが取れない", Kind: action.Block, Via: d.ID, Targets: []string{target}}}}, nil)
		}
	}
}
