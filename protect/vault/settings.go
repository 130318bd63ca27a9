package vault

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/state"
)

// settings are what is kept about a repository. Its id is that of its agent.
type settings struct {
	Agent  string  `json:"agent"`
	Site   string  `json:"site"`
	Name   string  `json:"name"`   // of the host when the repository was made
	Sealed []byte  `json:"sealed"` // the agent's password
	Quota  int64   `json:"quota"`  // bytes; 0: no bound but the disk
	Why    string  `json:"why,omitempty"`
	Escrow *Escrow `json:"escrow,omitempty"`

	Hold      *Hold  `json:"hold,omitempty"`
	HoldEnded string `json:"hold_ended,omitempty"` // why the last one was ended
}

// passwordBytes is how many random bytes a password is made of.
const passwordBytes = 32

// Password returns the password of an agent's repository, and makes it when it is
// the first time: fault.Denied for a host that is not trusted.
func (v *Vault) Password(ctx context.Context, agent string) (string, error) {
	s, _, err := get[settings](ctx, v, kindRepository, agent)
	if fault.Of(err) == fault.Missing {
		s, err = v.make(ctx, agent)
	}
	if err != nil {
		return "", err
	}
	return v.open(s)
}

// Ready returns what Password does, and makes the repository when it is the first
// time. What keeps it from that is no error: the agent's restic meets it as well,
// and its job says so.
func (v *Vault) Ready(ctx context.Context, agent string) (string, error) {
	password, err := v.Password(ctx, agent)
	if err != nil {
		return "", err
	}
	repo, err := v.repository(ctx, agent)
	if err == nil {
		err = repo.Begin(ctx, Hub)
	}
	if err != nil && !elsewhere(err) {
		v.Log.Warn("repository not made", "agent", agent, "error", err)
	}
	return password, nil
}

func (v *Vault) open(s settings) (string, error) {
	plain, err := v.Keys.Unseal(s.Sealed, sealContext(s.Agent))
	if err != nil {
		return "", fmt.Errorf("password of repository %s: %w", s.Agent, err)
	}
	return string(plain), nil
}

func sealContext(agent string) []byte { return []byte("vault/" + agent) }

// make keeps a new password, unless somebody else was quicker.
func (v *Vault) make(ctx context.Context, agent string) (settings, error) {
	h, err := v.member(ctx, agent)
	if err != nil {
		return settings{}, err
	}
	random := make([]byte, passwordBytes)
	if _, err := rand.Read(random); err != nil {
		return settings{}, err
	}
	s := settings{Agent: h.ID, Site: h.Site, Name: h.Name}
	if s.Sealed, err = v.Keys.Seal([]byte(base64.RawURLEncoding.EncodeToString(random)), sealContext(h.ID)); err != nil {
		return settings{}, err
	}
	made := v.create(ctx, version{ID: h.ID, Kind: kindRepository, Agent: h.ID, Site: h.Site, By: Hub}, s, said{})
	if kept, _, err := get[settings](ctx, v, kindRepository, agent); err == nil { // the key of the table let one in
		return kept, nil
	}
	return settings{}, made
}

// settingsOfAll are those of all repositories.
func (v *Vault) settingsOfAll(ctx context.Context) ([]settings, error) {
	return list[settings](ctx, v, kindRepository, "", "", maxRepositories)
}

// maxRepositories bounds one list; there is one repository for each agent.
const maxRepositories = 10_000

// known tells the service what it must know of an agent.
func (v *Vault) known(ctx context.Context, agent string) (repository.Agent, error) {
	s, _, err := get[settings](ctx, v, kindRepository, agent)
	if err != nil {
		return repository.Agent{}, err
	}
	password, err := v.open(s)
	if err != nil {
		return repository.Agent{}, err
	}
	a := repository.Agent{Passwords: []string{password}, Quota: s.Quota, Hostnames: []string{s.Agent, s.Name}}
	h, err := v.Hosts.Host(ctx, agent)
	switch {
	case err == nil:
		a.Hostnames = append(a.Hostnames, h.Name)
	case fault.Of(err) != fault.Missing:
		return repository.Agent{}, err
	default:
		h.Site = s.Site
	}
	if _, a.Cut, err = v.cutOf(ctx, h.Site); err != nil {
		return repository.Agent{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if second := v.pending[agent]; second != "" {
		a.Passwords = append(a.Passwords, second)
	}
	return a, nil
}

// maxQuota bounds a quota, in bytes: 1 PiB.
const maxQuota = 1 << 50

// SetQuota bounds what an agent may store, in bytes; 0: no bound but the disk.
// What is there already stays, whatever the bound.
func (v *Vault) SetQuota(ctx context.Context, agent string, bytes int64, reason string, by auth.Person) error {
	reason, err := reasonOf(reason)
	if err != nil {
		return err
	}
	if bytes < 0 || bytes > maxQuota {
		return fault.New(fault.Invalid, "vault.quota")
	}
	err = alter(ctx, v, kindRepository, agent, by, func(_ *state.Tx, _ string, s *settings) (said, error) {
		s.Quota, s.Why = bytes, reason
		return said{}, nil
	})
	if err != nil {
		return err
	}
	return v.refresh(ctx, agent)
}

// refresh lets an open repository know what is so now; another hub's hears of it
// by Follow.
func (v *Vault) refresh(ctx context.Context, agent string) error {
	_, err := v.repository(ctx, agent)
	if elsewhere(err) {
		return nil
	}
	return err
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// ignoreMissing drops the error of what is not there.
func ignoreMissing(err error) error {
	if fault.Of(err) == fault.Missing {
		return nil
	}
	return err
}
