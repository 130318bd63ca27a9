package hub_test

import (
	"net/http"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/sonae/sonae/api"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/playbook"
)

// bookNamed finds one of Sonae's own playbooks.
func bookNamed(t *testing.T, c *hubtest.Client, name string) api.PlaybookLine {
	t.Helper()
	for _, b := range hubtest.List[api.PlaybookLine](c, "/playbooks") {
		if b.Name["en"] == name {
			return b
		}
	}
	t.Fatalf("no playbook %q", name)
	return api.PlaybookLine{}
}

// TestPlaybookFromAlertToVerifiedChronology: traffic of file sharing is seen,
// its incident offers the playbook, people walk through it on the page, the hub
// is killed in the middle and goes on, and a stranger checks every line.
func TestPlaybookFromAlertToVerifiedChronology(t *testing.T) {
	t.Parallel()
	dir, program := hubtest.Folder(t), sonaeProgram(t)
	serve := func() *hubtest.Hub {
		return hubtest.Process(t, dir, exec.Command(program, "serve", "--dir", dir, "--listen", "127.0.0.1:0", "--agents", "127.0.0.1:0", "--local", "127.0.0.1:0"))
	}
	h := serve()
	one := h.FirstAdmin()
	a := h.Raised(one)
	in := one.Open(a)
	h.Await("the incident's page to offer the playbook that fits its alert", func() bool {
		_, page := one.Page("/incidents/" + in.ID)
		return strings.Contains(page, "「委託先でのファイル共有ソフト(P2P)の使用」を始める")
	})
	b := bookNamed(t, one, "File sharing (P2P) at a contractor")
	if status, to, text := one.Submit("/incidents/"+in.ID+"/runs", url.Values{"playbook": {b.ID}}); status != http.StatusSeeOther {
		t.Fatalf("begin: %d to %q: %.300s", status, to, text)
	}
	runs := hubtest.List[playbook.Run](one, "/incidents/"+in.ID+"/runs")
	if len(runs) != 1 || len(runs[0].Visits) != 1 {
		t.Fatalf("runs: %+v", runs)
	}
	path := "/incidents/" + in.ID + "/runs/" + runs[0].ID
	if status, _, text := one.Submit(path+"/steps/1", url.Values{"what": {"done"}, "note": {"写真あり"}}); status != http.StatusSeeOther {
		t.Fatalf("done: %d: %.300s", status, text)
	}

	h.Kill() // as a power failure does, while the hub asks for evidence
	h = serve()
	one = h.Again(one)
	h.Admin(one)
	walk(t, h, one, path)

	one.Written(in.ID, "playbook.finished") // it comes by message
	chronology := one.Chronology(in.ID)
	seen := map[string]int{}
	for _, e := range chronology {
		if strings.HasPrefix(e.Key, "playbook.") {
			seen[e.Key]++
			say := e.Say("ja", func(lang, key string, args map[string]string) string { return i18n.T(lang, key, args) }, nil)
			if strings.ContainsAny(say, "⟦⟧{}") || !strings.Contains(say, "手順「委託先") {
				t.Errorf("line %d reads %q", e.No, say)
			}
		}
	}
	for key, want := range map[string]int{"begun": 1, "asked": 1, "succeeded": 1, "parallel": 1, "answered": 1, "condition": 1, "agreed": 1, "finished": 1} {
		if seen["playbook."+key] != want {
			t.Errorf("the chronology has %d of %s, want %d", seen["playbook."+key], key, want)
		}
	}
	h.Idle()
	h.Kill()
	if out, err := exec.Command(program, "verify", dir).CombinedOutput(); err != nil {
		t.Errorf("verify: %v: %s", err, out)
	} else if !strings.Contains(string(out), "row by row") {
		t.Errorf("verify says %s", out)
	}
}

// walk does every step that people do until the run is over.
func walk(t *testing.T, h *hubtest.Hub, one *hubtest.Client, path string) {
	t.Helper()
	two := h.Person("ito", "", auth.Responder)
	h.Await("the run to come to its end", func() bool {
		r := hubtest.Get[playbook.Run](one, path)
		for _, v := range r.Visits {
			if v.State != playbook.Open {
				continue
			}
			who := one
			if len(v.Agreed) > 0 {
				who = two
			}
			who.Must("POST", path+"/steps/"+strconv.Itoa(v.No), map[string]string{"what": "done", "chosen": "yes"}, nil)
			break
		}
		return r.State == playbook.Finished
	})
}
