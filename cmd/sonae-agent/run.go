package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/agent/act"
	"github.com/sonae/sonae/agent/act/gateway"
	"github.com/sonae/sonae/agent/act/process"
	"github.com/sonae/sonae/agent/act/vm"
	"github.com/sonae/sonae/agent/backup"
	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/agent/forensic"
	"github.com/sonae/sonae/agent/guard/shares"
	"github.com/sonae/sonae/agent/health"
	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/agent/owner"
	"github.com/sonae/sonae/agent/screen"
	"github.com/sonae/sonae/agent/settings"
	"github.com/sonae/sonae/agent/watcher"
	"github.com/sonae/sonae/source/feed"
)

// options of run.
type options struct {
	dir         string
	ring, spool int64 // MiB
	heartbeat   time.Duration
	gateway     bool
	telemetry   string   // how processes are seen; "": as well as the kernel permits
	glass       []string // break-glass accounts
	spared      []string // services that are never stopped
	libvirt     string   // whose virtual machines are cut
	sensors     feed.Config
	capture     captureOptions
	guard       guardOptions
	virus       virusOptions
	shares      sharesOptions
	restic      string // program that backs up
	hooks       string // folder of the commands around backups
	settings    settings.Settings
}

// run is the agent itself.
func (p program) run(ctx context.Context, args []string) error {
	f, dir := p.flags("run")
	var o options
	f.BoolVar(&o.gateway, "gateway", false, "this machine is a router or an inline bridge: block other machines when the hub orders it")
	f.Var((*several)(&o.spared), "never-stop", "service that is never stopped, as many as wanted")
	f.Var((*several)(&o.glass), "break-glass", "account that is never closed, as many as wanted")
	f.StringVar(&o.libvirt, "libvirt", vm.System, "libvirt whose virtual machines are cut from the network when the hub orders it")
	o.capture.flags(f)
	o.guard.flags(f, "guard", "guard-")
	o.virus.flags(f)
	o.shares.flags(f)
	f.StringVar(&o.restic, "restic", "", "restic that backs up; DIR/restic or that of PATH, whichever is newer, where it is not given")
	f.StringVar(&o.hooks, "hooks", "", "folder of the commands that a backup may run; DIR/hooks where it is not given")
	f.Int64Var(&o.ring, "ring", 8, "MiB of the last packets kept in memory as evidence")
	f.Int64Var(&o.spool, "spool", 512, "MiB on disk for events while the hub is away")
	f.Var((*several)(&o.sensors.EVE), "eve", "file that Suricata writes (eve.json), as many as wanted")
	f.Var((*several)(&o.sensors.Sockets), "eve-socket", "socket that Suricata connects to, dgram:PATH for unix_dgram")
	f.Var((*several)(&o.sensors.Zeek), "zeek", "folder in which Zeek writes its logs")
	f.DurationVar(&o.heartbeat, "heartbeat", 5*time.Second, "time between heartbeats")
	f.Func("telemetry", "see processes by ebpf, connector or proc; the first of them that the kernel permits when it is not given", func(s string) (err error) {
		o.telemetry, err = backend(s)
		return err
	})
	file := f.String("settings", "", "what this machine is watched for; DIR/agent.yml where it is not given")
	verbose := f.Bool("verbose", false, "log more")
	if err := p.parse(f, args, 0); err != nil {
		return err
	}
	if *verbose {
		p.level.Set(slog.LevelDebug)
	}
	if o.ring < 1 || o.spool < 1 || o.virus.most < 1 || o.heartbeat < 100*time.Millisecond {
		fmt.Fprintf(p.err, "sonae-agent: run: --ring, --spool and --clamd-max begin at 1, --heartbeat at 100ms\n")
		return errUsage
	}
	if err := o.capture.check(); err != nil {
		fmt.Fprintf(p.err, "sonae-agent: run: %v\n", err)
		return errUsage
	}
	if err := o.shares.check(); err != nil {
		fmt.Fprintf(p.err, "sonae-agent: run: %v\n", err)
		return errUsage
	}
	o.dir = *dir
	id, err := link.Load(o.dir)
	if err != nil {
		return err
	}
	if o.settings, err = settings.Load(cmp.Or(*file, filepath.Join(o.dir, "agent.yml")), *file != ""); err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(o.dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if os.Getenv("GOGC") == "" { // the machine's memory is for others; ours is small, and collecting it again costs little
		debug.SetGCPercent(50)
	}
	return p.watch(ctx, o, id)
}

// watch joins the parts, in the order in which the data flows.
func (p program) watch(ctx context.Context, o options, id link.Identity) error {
	client, err := link.Dial(o.dir, id, p.log)
	if err != nil {
		return err
	}
	defer client.Close()
	a, err := agent.New(agent.Config{Dir: o.dir, Version: version(), OS: system(), Heartbeat: o.heartbeat, SpoolBytes: o.spool << 20, LossAlarm: o.capture.alarm / 100, Mirror: o.capture.promiscuous || o.gateway}, client, time.Now, p.log)
	if err != nil {
		return err
	}
	finder := owner.New(owner.Config{Now: time.Now})
	collectors, load := collect.All(collect.Config{Dir: o.dir, Sensors: o.sensors, Backend: o.telemetry, Connected: noting(finder), Now: time.Now, Log: p.log.With("part", "collect")})
	monitor := health.New(o.settings.Health, health.Deps{Hub: a.HubClock, Now: time.Now, Log: p.log.With("part", "health")})
	collectors = append(collectors, monitor)
	more, err := p.changes(o, a.Infected)
	if err != nil {
		return errors.Join(err, a.Close())
	}
	vms := vm.NewWatch(o.libvirt)
	collectors = append(append(collectors, more...), vms)
	if w := watcher.New(o.settings.Watcher, watcher.Deps{Dir: o.dir, Agent: machineName(id), Hub: id.Hub, Answered: a.Answered, Now: time.Now, Log: p.log.With("part", "watcher")}); w != nil {
		collectors = append(collectors, w)
	}
	actor := act.New(act.Config{Dir: filepath.Join(o.dir, "act"), Hub: client.HubAddress, Probe: a.Probe, Now: time.Now, Log: p.log.With("part", "act")})
	var blocker agent.Blocker
	if o.gateway {
		blocker = gateway.New(gateway.Config{Dir: filepath.Join(o.dir, "gateway"), Hub: client.HubAddress, Own: gateway.Own, Probe: a.Probe, Now: time.Now, Log: p.log.With("part", "gateway")})
	}
	group, err := p.container(o.dir, containment{hub: client.HubAddress, named: a.Named, probe: a.Probe, glass: o.glass, spared: o.spared, vms: o.libvirt,
		smb: o.shares.conf, kept: o.capture.places()})
	if err != nil {
		return errors.Join(err, a.Close())
	}
	packets, err := p.openPackets(o)
	if err != nil {
		return errors.Join(err, a.Close())
	}
	keep := p.keeper(o.dir, func(e process.Ended) { a.FreezeOver(e.Root.PID, e.Root.Start, e.Image, e.Cause) })
	o.guard.protect = o.shares.serving()
	files, err := o.guard.open(filepath.Join(o.dir, "guard"), p.log, a.Thawed, a.Frozen, keep.frozen)
	if err != nil {
		return errors.Join(err, packets.close(), a.Close())
	}
	defer keep.start(ctx)()
	kept := &keptOut{group: group, lease: o.shares.lease, tell: a.ShareEncrypted, queue: make(chan shares.Found, 64), log: p.log.With("part", "shares")}
	watched, err := o.shares.open(filepath.Join(o.dir, "shares"), p.log, kept.found)
	if err != nil {
		return errors.Join(err, packets.close(), a.Close())
	}
	defer kept.start(ctx, !o.shares.only)()
	evidence := forensic.New(packets.evidence(plannedBy(o.dir, forensic.Config{Now: time.Now, Log: p.log.With("part", "forensic")}, p.log)))
	jobs := backup.New(backup.Config{Dir: filepath.Join(o.dir, "backup"), Hooks: cmp.Or(o.hooks, filepath.Join(o.dir, "hooks")), Restic: restics(o), Host: id.Host,
		Link: client, Ahead: a.Ahead, Now: time.Now, Log: p.log})
	err = a.Run(ctx, agent.Parts{
		OpenSensor: packets.open,
		Packets:    packets.keeping(),
		Owner: func(proto string, local, remote netip.AddrPort) (agent.Process, bool) {
			q, ok := finder.Of(proto, local, remote)
			return agent.Process{PID: q.PID, Image: q.Image, Command: q.Command, User: q.User}, ok
		},
		Actor:      actor,
		Gateway:    blocker,
		Contain:    group,
		Preserve:   preserver(evidence, client, time.Now),
		Backup:     jobs,
		Show:       screen.New(screen.Config{}).Show,
		Collectors: collectors,
		Load:       load,
		Guard:      files,
		Shares:     watched,
		Measures:   monitor.Measures,
		VMs:        vms.All,
	})
	return errors.Join(err, packets.close(), a.Close())
}

// restics are the programs that may back up.
func restics(o options) []string {
	if o.restic != "" {
		return []string{o.restic}
	}
	return []string{filepath.Join(o.dir, "restic"), "restic"} // LookPath adds .exe
}

// backend is what --telemetry names.
func backend(s string) (string, error) {
	b, ok := map[string]string{"ebpf": collect.BackendEBPF, "connector": collect.BackendConnector, "proc": collect.BackendProc}[s]
	if !ok {
		return "", errors.New("it is ebpf, connector or proc")
	}
	return b, nil
}

// noting lets a finder know who opened a connection when it happens.
func noting(finder *owner.Finder) func(collect.Connection) {
	return func(c collect.Connection) {
		finder.Note(c.Proto, c.Local, c.Remote, owner.Process{PID: c.PID, Image: c.Image, Command: c.Command, User: c.User})
	}
}

// machineName is what people call this machine.
func machineName(id link.Identity) string {
	if name, err := os.Hostname(); err == nil {
		return name
	}
	return id.Host
}

// several is a flag that may be given several times.
type several []string

// String and Set are what package flag asks for.
func (s *several) String() string     { return strings.Join(*s, " ") }
func (s *several) Set(v string) error { *s = append(*s, v); return nil }
