package hub

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"fmt"
	"io"
	"os"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/bus"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/evidence/stamp"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident/cause"
	"github.com/sonae/sonae/incident/paper"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/ledger/witness"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ready/drill"
	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/report/block"
	"github.com/sonae/sonae/report/docx"
	"github.com/sonae/sonae/report/html"
	"github.com/sonae/sonae/report/misp"
	"github.com/sonae/sonae/report/pdf"
	"github.com/sonae/sonae/report/stix"
	"github.com/sonae/sonae/report/xlsx"
	"github.com/sonae/sonae/secret"
	"github.com/sonae/sonae/source/agentlink"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// The stages declare what they need as small interfaces; this file fits the
// parts to them where names or shapes differ.

func (h *Hub) openKeys() (*secret.Keys, error) {
	options := []secret.Option{secret.Clock(h.cfg.Now)}
	if h.cfg.Passphrase != "" {
		b, err := os.ReadFile(h.cfg.Passphrase)
		if err != nil {
			return nil, fmt.Errorf("read passphrase: %w", err)
		}
		options = append(options, secret.Passphrase(bytes.TrimRight(b, "\r\n")))
	}
	keys, err := secret.Open(h.cfg.keys(), options...)
	if err != nil {
		return nil, err
	}
	return keys, h.publishKeys(keys)
}

// publishKeys writes what others need without the private keys: the ledger's
// public key for `sonae verify`, and the authority's certificate for browsers.
func (h *Hub) publishKeys(keys *secret.Keys) error {
	_, verifier := keys.Note()
	if err := os.WriteFile(h.cfg.path("ledger-key.txt"), []byte(verifier+"\n"), 0o644); err != nil {
		return err
	}
	return os.WriteFile(h.cfg.path("ca.pem"), keys.CAPEM(), 0o644)
}

// openLedger opens the ledger. What witnesses cosign lies beside it; the
// ledger must extend it even when they are not asked any more.
func (h *Hub) openLedger(ctx context.Context) (err error) {
	signer, _ := h.keys.Note()
	var keys []ledger.WitnessKey
	for _, p := range h.cfg.Witnesses {
		keys = append(keys, p.Key)
	}
	options := []ledger.Option{ledger.Witnessed(h.cfg.path("witness"), keys...), ledger.Indexed(h.cfg.path("ledger-index"))}
	if h.store != nil {
		options = append(options, ledger.Shared(blob.Sub(h.store, "ledger")))
	}
	h.ledger, err = ledger.Open(ctx, h.cfg.path("ledger"), signer, h.part("ledger"), options...)
	return err
}

// openArchive opens the archive, of this hub alone or of several.
func (h *Hub) openArchive(ctx context.Context) (err error) {
	options := []archive.Option{archive.WithClock(h.cfg.Now), archive.WithLedger(h.putOnRecord)}
	if h.cfg.Keep != nil {
		options = append(options, archive.WithRetention(h.cfg.Keep))
	}
	if h.store != nil {
		options = append(options, archive.Shared(blob.Sub(h.store, "archive"), h.cfg.hub()))
	}
	h.archive, err = archive.Open(ctx, h.cfg.path("archive"), h.part("archive"), options...)
	return err
}

// openBus opens the bus of this hub, or the one that several share.
func (h *Hub) openBus(ctx context.Context) (*bus.Bus, error) {
	cfg := bus.Config{Dir: h.cfg.path("bus"), Streams: streams, Partitioned: partitioned, MinFree: h.cfg.MinFree,
		Quotas: h.cfg.Quotas, Hub: h.cfg.hub(), External: h.cfg.Bus, Leaf: h.cfg.Leaf}
	if h.cfg.Leaves.Addr != "" {
		leaves := h.cfg.Leaves
		names, ips := h.cfg.names()
		leaves.TLS = &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: h.keys.ServerSource(names, ips)}
		leaves.Check = agentlink.Onward
		cfg.LeafListen = &leaves
	}
	return bus.Open(ctx, cfg, h.part("bus"))
}

// openStore connects to the storage that hubs share, if there is one.
func (h *Hub) openStore(ctx context.Context) (err error) {
	if h.cfg.Store != nil {
		h.store, err = blob.OpenS3(ctx, *h.cfg.Store)
	}
	return err
}

// askWitnesses asks for cosignatures until ctx ends.
func (h *Hub) askWitnesses(ctx context.Context) error {
	return witness.NewAsker(h.ledger, h.cfg.Witnesses, h.cfg.Now, h.part("witness")).Run(ctx)
}

// prover puts a leaf on record and proves it, as evidence wants it.
type prover struct{ hub *Hub }

func (p prover) Prove(ctx context.Context, l leaf.Leaf) ([]byte, error) {
	if err := p.hub.putOnRecord(ctx, l); err != nil {
		return nil, err
	}
	proof, err := p.hub.ledger.Await(ctx, l)
	if err != nil {
		return nil, err
	}
	return proof.Bytes()
}

func (h *Hub) openVault() (err error) {
	_, verifier := h.keys.Note()
	deps := evidence.Deps{Ledger: prover{h}, Key: verifier, Room: h.bus.Room, Now: h.cfg.Now, Log: h.part("evidence")}
	if deps.Virus, err = h.cfg.openVirus(); err != nil {
		return err
	}
	if h.store != nil {
		deps.Store = blob.Sub(h.store, "evidence")
	}
	if h.cfg.TSA != "" {
		roots, err := os.ReadFile(h.cfg.TSARoots)
		if err != nil {
			return fmt.Errorf("read roots of the time stamp authority: %w", err)
		}
		if deps.Stamp, err = stamp.New(stamp.Config{URL: h.cfg.TSA, Roots: roots}); err != nil {
			return err
		}
	}
	h.vault, err = evidence.New(h.state, h.cfg.path("evidence"), deps)
	return err
}

// openLearning makes what takes paper in and finds causes.
func (h *Hub) openLearning() error {
	store := blob.Sub(h.store, "paper")
	if h.store == nil {
		var err error
		if store, err = blob.OpenFolder(h.cfg.path("paper")); err != nil {
			return err
		}
	}
	_, verifier := h.keys.Note()
	h.paper = paper.New(h.state, paper.Deps{Room: h.incidents, Store: store, Ledger: h.ledger, Key: verifier, People: h.people, Now: h.cfg.Now, Log: h.log})
	h.causes = cause.New(h.state, cause.Deps{Room: h.incidents, Alerts: h.alerts, Bags: h.vault, People: h.people, Now: h.cfg.Now, Log: h.log})
	return nil
}

func (h *Hub) openReports() error {
	makers, err := h.makers()
	if err != nil {
		return err
	}
	h.reports = report.New(h.state, report.Deps{
		Incidents: h.incidents, Duties: h.duties, Ledger: h.ledger, Rules: h.duties.Rules(),
		Alerts: func(ctx context.Context, id string) ([]alert.Alert, error) {
			list, _, err := h.alerts.List(ctx, alert.Filter{Incident: id, Limit: 200})
			return list, err
		},
		Actions: func(ctx context.Context, id string) ([]action.Action, error) {
			list, _, err := h.actions.List(ctx, action.Filter{Incident: id, Limit: 200})
			return list, err
		},
		Bags: func(ctx context.Context, id string) ([]evidence.Bag, error) {
			list, _, err := h.vault.List(ctx, evidence.Filter{Incident: id, Limit: 200})
			return list, err
		},
		Names: h.names,
		Say:   alert.Alert.Say,
		Pages: html.Pages{Dir: h.cfg.path("templates")}, Makers: makers,
		PhoneBook: report.PhoneBook{Tasks: h.tasks, People: h.notices, Authorities: h.duties},
	}, h.cfg.Now, h.log)
	return nil
}

// makers are the formats in which documents are handed out; PDF where there is
// a browser.
func (h *Hub) makers() (map[string]report.Maker, error) {
	all := map[string]report.Maker{report.Docx: docx.Make, report.Xlsx: xlsx.Make, report.Txt: block.Make, report.STIX: stix.Make, report.MISP: misp.Make}
	if h.cfg.Browser == "off" {
		return all, nil
	}
	browser, err := pdf.Find(h.cfg.Browser)
	if browser != "" {
		all[report.PDF] = pdf.New(browser, h.log).Make
	}
	return all, err
}

// names maps ids of people, hosts and sites to what people call them.
func (h *Hub) names(ctx context.Context) (map[string]string, error) {
	out, err := h.assets.Names(ctx)
	if err != nil {
		return nil, err
	}
	people, err := h.people.People(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range people {
		out[p.ID] = p.Name
	}
	return out, nil
}

func (h *Hub) openLink() {
	h.link = agentlink.New(agentlink.Deps{
		Registry: h.assets.Gate(), Identity: secret.AgentOf, Sign: h.keys.SignAgent, Publish: h.bus.Offer,
		Pending: h.pending, Result: h.result, Job: h.jobs.Grant, Tool: h.keeper.OpenTool, Receive: h.receive,
		CA: h.keys.CAPEM(), OrderKey: h.orderKey(), Now: h.cfg.Now, Log: h.log,
	})
}

// playbookKey signs playbooks. It is made of the hub's secret and is no other
// key, so that a signature of a playbook is valid for nothing else.
func (h *Hub) playbookKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(h.keys.Mac("playbook signature", "v1")[:ed25519.SeedSize])
}

func (h *Hub) orderKey() ed25519.PublicKey { return h.keys.Order().Public().(ed25519.PublicKey) }

// receive stores an item. An agent can be quicker than the message that opens
// its bag: then the bag is opened here.
func (h *Hub) receive(ctx context.Context, host string, i wire.ItemHeader, body io.Reader, sums func() (string, string)) error {
	if _, err := h.vault.Get(ctx, i.Bag); fault.Of(err) == fault.Missing {
		if err := h.openBag(ctx, host, i.Bag); err != nil {
			return err
		}
	}
	return h.vault.Receive(ctx, host, evidence.NewItem(i), body, sums)
}

func (h *Hub) openBag(ctx context.Context, host, bag string) error {
	list, _, err := h.actions.List(ctx, action.Filter{Host: host, Limit: 50})
	if err != nil {
		return err
	}
	for _, a := range list {
		if a.Bag == bag {
			return h.vault.OpenBag(ctx, a)
		}
	}
	return nil // the vault refuses it with the reason
}

// openPractice makes the practice incident. It publishes and answers like an
// agent, through the same doors.
func (h *Hub) openPractice() (err error) {
	h.practice, err = drill.New(drill.Deps{
		Begin: func(ctx context.Context) error { // else the next drill would only add to the alert of the last one
			return h.alerts.CloseDrill(ctx, drill.Host, drill.Next, auth.Person{ID: "sonae"})
		},
		AddSite: func(ctx context.Context, s asset.Site) error {
			return h.assets.SaveSite(ctx, s, auth.Person{ID: "sonae"})
		},
		ShowHost: h.showDrillHost,
		Publish: func(ctx context.Context, b event.Batch) error {
			body, err := wire.EncodeBatch(b)
			if err != nil {
				return err
			}
			return h.bus.Offer(ctx, "event."+b.Site+"."+b.Host, b.ID, body)
		},
		Record: h.people.Drilled,
		Now:    h.cfg.Now, Log: h.log, OrderKey: h.orderKey(), Pending: h.actions.Pending, Result: h.actions.Result, Item: h.receive,
	})
	return err
}

func (h *Hub) showDrillHost(ctx context.Context, s drill.HostState) error {
	if err := h.assets.AddDrillHost(ctx, s.Host); err != nil {
		return err
	}
	return h.assets.DrillBeat(ctx, s.ID, asset.Heartbeat{At: h.cfg.Now(), Agent: s.Agent, OS: s.OS, Addresses: s.Addresses, Hub: s.Hub,
		Health: s.Health, Action: s.Action, LeaseEnd: s.LeaseEnd})
}
