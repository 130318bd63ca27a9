package main

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/sonae/sonae/agent/act/account"
	"github.com/sonae/sonae/agent/act/contain"
	"github.com/sonae/sonae/agent/act/directory"
	"github.com/sonae/sonae/agent/act/gateway"
	"github.com/sonae/sonae/agent/act/peer"
	"github.com/sonae/sonae/agent/act/process"
	"github.com/sonae/sonae/agent/act/service"
	"github.com/sonae/sonae/agent/act/smb"
	"github.com/sonae/sonae/agent/act/vm"
	"github.com/sonae/sonae/agent/act/volume"
	"github.com/sonae/sonae/agent/samba"
)

// containment is what only the running agent has; the console, which undoes,
// does without.
type containment struct {
	hub    func() netip.AddrPort
	named  func(name string) []netip.Addr
	probe  func(context.Context) error
	glass  []string // accounts that are never closed
	spared []string // services that are never stopped
	vms    string   // libvirt whose machines are cut
	smb    string   // smb.conf; empty: the system's
	kept   []string // places of this program outside of its folder
}

// directoryFile holds who may change the accounts of a directory, on the one
// machine that does it for all.
const directoryFile = "directory.json"

// container joins the means of containing one thing of this machine.
func (p program) container(dir string, with containment) (*contain.Group, error) {
	log := p.log.With("part", "contain")
	keeper := process.New(process.Config{Dir: filepath.Join(dir, "frozen"), Now: time.Now, Log: log})
	kept := append([]string{dir}, with.kept...)
	if own, err := os.Executable(); err == nil {
		kept = append(kept, own)
	}
	means := []contain.Means{
		process.Freezing{Keeper: keeper},
		process.Killing{Keeper: keeper},
		service.Means{Spared: with.spared, Now: time.Now},
		peer.Means{Hub: with.hub, Own: gateway.Own, Named: with.named, Now: time.Now},
		vm.Means{URI: with.vms, Now: time.Now},
		smb.Sessions{Samba: samba.Server{Conf: with.smb}, Own: gateway.Own, Now: time.Now},
		smb.Shares{Samba: samba.Server{Conf: with.smb}, Now: time.Now},
		&volume.Means{Kept: kept, Now: time.Now},
	}
	of, err := directory.Load(filepath.Join(dir, directoryFile))
	switch {
	case err == nil:
		means = append(means, directory.Means{Config: of, Now: time.Now})
	case errors.Is(err, fs.ErrNotExist):
	case with.probe == nil: // the console releases what does not need it
		log.Warn("directory left out", "err", err)
	default:
		return nil, err
	}
	means = append(means, account.Means{BreakGlass: with.glass, Now: time.Now}) // all accounts that are not the directory's
	return contain.NewGroup(contain.Config{Dir: filepath.Join(dir, "contain"), Probe: with.probe, Now: time.Now, Log: log}, means...), nil
}
