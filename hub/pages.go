package hub

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/api"
	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/source/agentlink/wire"
	"github.com/sonae/sonae/ui"
	"github.com/sonae/sonae/ui/view"
)

func (h *Hub) openPages() (http.Handler, error) {
	h.live = ui.NewLive()
	return ui.New(ui.Deps{
		People: h.people, Assets: h.assets, Alerts: h.alerts, Incidents: h.incidents, Actions: h.actions, Evidence: h.vault,
		Duties: h.duties, Books: h.books, Decisions: h.decisions, Tasks: h.tasks, Reports: h.reports, Sheets: h.sheets, Ledger: h.ledger,
		Archive: h.archive, Searches: h.searches, Rules: h.rulebook, Threats: h.threats, Located: h.located,
		Devices: devices{h.devices, h.runner}, Thresholds: h.thresholds, Notices: h.notices, Paper: h.paper, Causes: h.causes, BackupPolicies: h.backups, BackupHistory: h.history, Vault: h.keeper, Drills: h.drills, Copies: h.copies, Restores: h.restores, Plans: h.plans, Forecasts: h.forecasts, Anomalies: h.anomalies,
		Events: func(ctx context.Context, ids []string, from time.Time, limit int) ([]event.Event, error) {
			return h.archive.Query(ctx, archive.Query{IDs: ids, From: from, Limit: limit})
		},
		Hub:     h.condition,
		Drill:   func(ctx context.Context, _ auth.Person) error { return h.startDrill(ctx) },
		Enrol:   h.enrolCommand,
		Address: "https://" + h.address(h.cfg.Listen),
		Live:    h.live, Now: h.cfg.Now, Log: h.part("ui"),
	})
}

// located says where events are kept and what of the ledger binds that.
func (h *Hub) located(ctx context.Context, ids []string) ([]evidence.Location, error) {
	places, err := h.archive.Locate(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]evidence.Location, len(places))
	for i, p := range places {
		out[i] = evidence.Location(p)
	}
	return out, nil
}

func (h *Hub) openAPI() http.Handler {
	return api.New(api.Deps{People: h.people, Assets: h.assets, Alerts: h.alerts, Incidents: h.incidents, Actions: h.actions,
		Evidence: h.vault, Duties: h.duties, Books: h.books, Decisions: h.decisions, Tasks: h.tasks, Reports: h.reports, Sheets: h.sheets, Ledger: h.ledger,
		Archive: h.archive, Searches: h.searches, Rules: h.rulebook, Threats: h.threats,
		Devices: devices{h.devices, h.runner}, Notices: h.notices, Paper: h.paper, Causes: h.causes, BackupPolicies: h.backups, BackupHistory: h.history, Vault: h.keeper, Drills: h.drills, Copies: h.copies, Restores: h.restores, Plans: h.plans, Forecasts: h.forecasts, Anomalies: h.anomalies, Now: h.cfg.Now, Log: h.part("api")})
}

// address is how others reach a listening address: its own host, else the
// machine's first address, else this computer only.
func (h *Hub) address(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return net.JoinHostPort(host, port)
	}
	if len(h.cfg.Names) > 0 {
		return net.JoinHostPort(h.cfg.Names[0], port)
	}
	host = "localhost"
	if _, ips := h.cfg.names(); len(ips) > 2 {
		host = ips[2].String()
	}
	return net.JoinHostPort(host, port)
}

// enrolCommand is what a person pastes on the machine that shall be watched.
func (h *Hub) enrolCommand(secret string) string {
	t := wire.Token{Hub: "https://" + h.address(h.cfg.Agents), CA: h.keys.Fingerprint(), Secret: secret}
	return fmt.Sprintf("sonae-agent enroll --hub %s --token %s && sonae-agent run", t.Hub, t.Encode())
}

// condition is the state of the hub for the head of every page.
func (h *Hub) condition(ctx context.Context) view.Hub {
	out := view.Hub{Version: h.version()}
	var st unix.Statfs_t
	if err := unix.Statfs(h.cfg.Dir, &st); err == nil && st.Blocks > 0 {
		out.Disk = 1 - float64(st.Bavail)/float64(st.Blocks)
	}
	lags, err := h.bus.Lags(ctx)
	if err != nil {
		out.Stopped = append(out.Stopped, "bus")
	}
	if h.ledger.Damage() != nil || h.ledger.Trouble() != nil {
		out.Stopped = append(out.Stopped, "ledger")
	}
	if out.Telling, err = h.notices.Health(ctx); err != nil {
		out.Stopped = append(out.Stopped, "notify")
	}
	for _, l := range lags {
		if l.Join != "dead" {
			out.Waiting += int64(l.Waiting)
		}
	}
	return out
}

func (h *Hub) version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return ""
}

// greet tells whoever started the hub where it is, and how to begin.
func (h *Hub) greet(ctx context.Context, out io.Writer) error {
	token, err := h.people.FirstInvitation(ctx)
	if err != nil {
		return err
	}
	addresses := []string{"https://" + h.address(h.cfg.Listen)}
	if h.cfg.Local != "" {
		addresses = append(addresses, "http://"+h.cfg.Local)
	}
	fmt.Fprintln(out, "備え / Sonae is running.")
	for _, a := range addresses {
		fmt.Fprintln(out, "  "+a+"/")
	}
	if token != "" {
		fmt.Fprintln(out, "初期設定のリンク(1時間有効・1回限り) / one-time set-up link, valid for an hour:")
		for _, a := range addresses {
			fmt.Fprintln(out, "  "+a+"/join/"+token)
		}
	}
	return nil
}
