package hub_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/api"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/hub/hubtest"
)

// publicRule is a rule of SigmaHQ from the developers' data set, which stands
// beside the project and is not part of it.
func publicRule(t *testing.T, name string) []byte {
	t.Helper()
	for _, root := range []string{"..", "../..", "../../.."} {
		f, err := os.Open(filepath.Join(root, "../shared/data/detect/sigmahq-rules.tar.gz"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		for r := tar.NewReader(z); ; {
			h, err := r.Next()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if filepath.Base(h.Name) != name {
				continue
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	t.Skip("the developers' data set is not here: ../shared/data/detect beside the project")
	return nil
}

// ownAddress is one of this machine that is not the loopback's.
func ownAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address but the loopback's")
	return ""
}

// TestPublicRulesSeeWhatEndsAtOnce: real programs end at once; the agent's
// telemetry tells of them, and rules of SigmaHQ raise their alerts, unchanged.
func TestPublicRulesSeeWhatEndsAtOnce(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("eBPF needs root")
	}
	dir := hubtest.Folder(t)
	rules := map[string]string{"proc_creation_lnx_base64_decode.yml": "e2072cab-8c9a-459b-b63c-40ae79e27031", "net_connection_lnx_back_connect_shell_dev.yml": "83dcd9f6-9ca8-4af7-a16e-a1c7a6b51871"}
	for name := range rules {
		path := filepath.Join(dir, "rules", "sigmahq", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, publicRule(t, name), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp4", ownAddress(t)+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := hubtest.Start(t, hubtest.Dir(dir))
	h.Site("clinic", "hospital")
	machine, admin := h.Enrol("clinic", "pc-1"), h.FirstAdmin()
	h.Await("the rules", func() bool {
		var list api.RulePage
		admin.Must(http.MethodGet, "/rules?origin=pack", nil, &list)
		return list.Total == len(rules)
	})
	p := collect.NewProcesses(collect.Config{Now: time.Now, Log: hubtest.Log(t), Backend: collect.BackendEBPF})
	a, err := agent.New(agent.Config{Dir: machine.Dir, Version: "test"}, machine.Client, time.Now, hubtest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx, agent.Parts{Collectors: []collect.Collector{p}}) }()
	defer func() {
		stop()
		if err := errors.Join(<-ended, a.Close()); err != nil {
			t.Error(err)
		}
	}()
	h.Await("the telemetry", func() bool { return p.Status() != "not started" })
	if p.Status() != collect.BackendEBPF {
		t.Skipf("eBPF is refused here: %s", p.Status())
	}

	decode := exec.Command("base64", "-d")
	decode.Stdin = strings.NewReader("5YKZ44GI")
	if out, err := decode.Output(); err != nil || string(out) != "備え" {
		t.Fatalf("%q %v", out, err)
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("bash", "-c", "exec 3<>/dev/tcp/"+host+"/"+port).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, id := range rules {
		h.Await("the alert of "+name, func() bool { _, ok := alertOf(admin, id); return ok })
	}
	var found []event.Event
	h.Await("the search", func() bool {
		found = admin.Find(`category:network_connection product:linux DestinationPort:` + port)
		return len(found) > 0
	})
	if f := found[0].Fields; f["DestinationIp"] != host || f["Initiated"] != "true" || !strings.HasSuffix(f["Image"], "/bash") || f["CommandLine"] == "" || f["User"] != "root" {
		t.Errorf("%v", f)
	}
}
