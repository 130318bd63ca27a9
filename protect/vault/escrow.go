package vault

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/backup"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/state"
)

// Escrow is the second key of a repository, for the safe (控えの鍵). The hub does
// not know its password: it was sealed for the recipients when it was made.
type Escrow struct {
	Key        string    `json:"key"`        // name of its file in keys/
	Recipients []string  `json:"recipients"` // public keys, any one of which opens Sealed
	Sealed     string    `json:"sealed"`     // the password, for the program age
	Check      string    `json:"check"`      // first 8 hex digits of the password's SHA-256
	At         time.Time `json:"at"`
	By         string    `json:"by"`             // person id, or Hub
	Open       bool      `json:"open,omitempty"` // the password was shown once, to be printed
}

// Recipient is somebody who keeps a private key outside of the hub.
type Recipient struct {
	Name string `json:"name"` // who, and where the private key lies
	Key  string `json:"key"`  // public key, age1…
}

// Recipients are for whom the second keys are sealed.
type Recipients struct {
	List []Recipient `json:"list"`
	Why  string      `json:"why"`
	At   time.Time   `json:"at"`
	By   string      `json:"by"`
}

// Bounds of recipients: one person alone must never be the only one who can open
// the safe.
const (
	leastRecipients = 2
	mostRecipients  = 8
	maxName         = 100 // characters
	idRecipients    = "recipients"
)

// Recipients returns for whom second keys are sealed; none before somebody said.
func (v *Vault) Recipients(ctx context.Context) (Recipients, error) {
	r, _, err := get[Recipients](ctx, v, kindRecipients, idRecipients)
	return r, ignoreMissing(err)
}

// SetRecipients says for whom second keys are sealed. Repositories get new ones
// soon; those before stay valid, for what was printed.
func (v *Vault) SetRecipients(ctx context.Context, all []Recipient, why string, by auth.Person) error {
	why, err := reasonOf(why)
	if err != nil {
		return err
	}
	r := Recipients{Why: why, At: v.moment(), By: by.ID}
	var keys []string
	for _, x := range all {
		x.Name, x.Key = strings.TrimSpace(x.Name), strings.TrimSpace(x.Key)
		if x.Name == "" || utf8.RuneCountInString(x.Name) > maxName {
			return fault.New(fault.Invalid, "vault.recipient-name", maxName)
		}
		if slices.Contains(keys, x.Key) {
			return fault.New(fault.Invalid, "vault.recipient-twice", x.Name)
		}
		if strings.ContainsAny(x.Key, "\r\n#") { // one key each
			return fault.New(fault.Invalid, "backup.recipient", x.Key)
		}
		if _, err := backup.Recipients(x.Key); err != nil {
			return err
		}
		r.List, keys = append(r.List, x), append(keys, x.Key)
	}
	if len(r.List) < leastRecipients || len(r.List) > mostRecipients {
		return fault.New(fault.Invalid, "vault.recipients", leastRecipients, mostRecipients)
	}
	_, _, err = get[Recipients](ctx, v, kindRecipients, idRecipients)
	if fault.Of(err) == fault.Missing {
		return v.create(ctx, version{ID: idRecipients, Kind: kindRecipients, By: by.ID}, r, said{})
	}
	if err != nil {
		return err
	}
	return alter(ctx, v, kindRecipients, idRecipients, by, func(_ *state.Tx, _ string, old *Recipients) (said, error) {
		*old = r
		return said{}, nil
	})
}

// keys are the public keys, sorted.
func (r Recipients) keys() []string {
	var out []string
	for _, x := range r.List {
		out = append(out, x.Key)
	}
	slices.Sort(out)
	return out
}

// keepEscrow makes the second key of a repository when it has none for the
// recipients of now.
func (v *Vault) keepEscrow(ctx context.Context, agent string) error {
	r, err := v.Recipients(ctx)
	if err != nil || len(r.List) == 0 {
		return err
	}
	s, _, err := get[settings](ctx, v, kindRepository, agent)
	if err != nil || s.Escrow != nil && slices.Equal(s.Escrow.Recipients, r.keys()) {
		return err
	}
	repo, err := v.repository(ctx, agent)
	if err != nil || !repo.Begun() {
		return err
	}
	if _, cut, err := v.cutOf(ctx, s.Site); err != nil || cut { // nothing is written now, not by the hub either
		return err
	}
	_, err = v.newEscrow(ctx, s, repo, r, auth.Person{ID: Hub}, false)
	return err
}

// NewSheet makes another second key and returns the sheet with its password,
// which is told this once and never again. What was printed before stays valid.
func (v *Vault) NewSheet(ctx context.Context, agent string, by auth.Person) (Sheet, error) {
	r, err := v.Recipients(ctx)
	if err != nil {
		return Sheet{}, err
	}
	if len(r.List) == 0 {
		return Sheet{}, fault.New(fault.Conflict, "vault.no-recipients")
	}
	s, _, err := get[settings](ctx, v, kindRepository, agent)
	if err != nil {
		return Sheet{}, err
	}
	repo, err := v.repository(ctx, agent)
	if err != nil {
		return Sheet{}, err
	}
	password, err := v.newEscrow(ctx, s, repo, r, by, true)
	if err != nil {
		return Sheet{}, err
	}
	sheet, err := v.Sheet(ctx, agent)
	sheet.Password = password
	return sheet, err
}

// newEscrow adds a key to a repository, and keeps its password sealed.
func (v *Vault) newEscrow(ctx context.Context, s settings, repo *repository.Repository, r Recipients, by auth.Person, open bool) (password string, err error) {
	first, err := v.open(s)
	if err != nil {
		return "", err
	}
	if password, err = newPassword(); err != nil {
		return "", err
	}
	lock, err := backup.Recipients(r.keys()...)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(password))
	e := Escrow{Recipients: r.keys(), Check: hex.EncodeToString(sum[:4]), At: v.moment(), By: by.ID, Open: open}
	if e.Sealed, err = backup.SealText(lock, password); err != nil {
		return "", err
	}
	file, err := againKey(ctx, repo, first, password, v.moment())
	if err != nil {
		return "", fmt.Errorf("second key of repository %s: %w", s.Agent, err)
	}
	e.Key = restic.Sum(file).String()
	if err := v.putKey(ctx, s.Agent, password, e.Key, file); err != nil {
		return "", fmt.Errorf("second key of repository %s: %w", s.Agent, err)
	}
	return password, alter(ctx, v, kindRepository, s.Agent, by, func(_ *state.Tx, _ string, s *settings) (said, error) {
		s.Escrow = &e
		return said{}, nil
	})
}

// newPassword makes a password that people can type: 13 groups of 4 letters and
// digits, 256 bits.
func newPassword() (string, error) {
	random := make([]byte, passwordBytes)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(random)
	var groups []string
	for part := range slices.Chunk([]byte(text), 4) {
		groups = append(groups, string(part))
	}
	return strings.Join(groups, "-"), nil
}

// againKey makes a second key file from the one that the agent's password opens.
func againKey(ctx context.Context, repo *repository.Repository, first, second string, now time.Time) ([]byte, error) {
	var names []string
	if err := repo.List(ctx, restic.Keys, func(name string, _ int64) error { names = append(names, name); return nil }); err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		file, err := repo.Open(ctx, restic.Keys, name)
		if err != nil {
			return nil, err
		}
		raw, err := io.ReadAll(io.NewSectionReader(file, 0, file.Size()))
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, err
		}
		key, err := restic.ParseKeyFile(raw)
		if err != nil {
			return nil, err
		}
		out, err := key.Again(first, second, "escrow", now)
		if !errors.Is(err, restic.ErrPassword) {
			return out, err
		}
	}
	return nil, fault.New(fault.Conflict, "protect.no-key")
}

// putKey hands a key file to the service like a client. While it does so, the
// service knows its password.
func (v *Vault) putKey(ctx context.Context, agent, password, name string, file []byte) error {
	v.setPending(agent, password)
	defer v.setPending(agent, "")
	repo, err := v.repository(ctx, agent)
	if err != nil {
		return err
	}
	return repo.Put(ctx, Hub, restic.Keys, name, int64(len(file)), strings.NewReader(string(file)))
}

func (v *Vault) setPending(agent, password string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if password == "" {
		delete(v.pending, agent)
		return
	}
	v.pending[agent] = password
}

// Sheet is what is printed and kept away from the hub (復旧シート): with it and
// the folder, stock restic brings everything back.
type Sheet struct {
	Agent      string    `json:"agent"`
	Name       string    `json:"name"` // of the machine
	Site       string    `json:"site"`
	Folder     string    `json:"folder"`     // on the hub's machine
	Repository string    `json:"repository"` // restic's id of it, hex
	Escrow     Escrow    `json:"escrow"`
	For        []string  `json:"for"`                // names of the recipients
	Password   string    `json:"password,omitempty"` // only on the sheet that has just been made
	At         time.Time `json:"at"`
}

// Sheet returns the sheet with the sealed password: fault.Conflict when there is
// no second key yet.
func (v *Vault) Sheet(ctx context.Context, agent string) (Sheet, error) {
	s, _, err := get[settings](ctx, v, kindRepository, agent)
	if err != nil {
		return Sheet{}, err
	}
	if s.Escrow == nil {
		return Sheet{}, fault.New(fault.Conflict, "vault.no-escrow")
	}
	repo, err := v.repository(ctx, agent)
	if err != nil {
		return Sheet{}, err
	}
	reader, err := repo.AsOf(time.Time{}).Reader(ctx)
	if err != nil {
		return Sheet{}, err
	}
	config, err := reader.Config(ctx)
	if err != nil {
		return Sheet{}, err
	}
	out := Sheet{Agent: agent, Name: s.Name, Site: s.Site, Folder: repo.Folder(), Repository: config.ID.String(), Escrow: *s.Escrow, At: v.moment()}
	all, err := v.Recipients(ctx)
	for _, key := range s.Escrow.Recipients {
		name := key
		if i := slices.IndexFunc(all.List, func(r Recipient) bool { return r.Key == key }); i >= 0 {
			name = all.List[i].Name
		}
		out.For = append(out.For, name)
	}
	return out, err
}

// Step is one command of a sheet; Key of its sentence is "vault.step.KEY".
type Step struct{ Key, Command string }

// Steps are the commands that bring everything back with the programs of any
// Linux distribution, restic alone and age where the password is sealed. FOLDER
// is where the repository's folder was copied or mounted.
func (s Sheet) Steps() []Step {
	var out []Step
	if s.Password == "" {
		out = append(out, Step{"open", "age -d -i KEY -o password.txt sealed.age"})
	} else {
		out = append(out, Step{"type", "printf %s '" + s.Password + "' > password.txt"})
	}
	return append(out,
		Step{"check", "sha256sum < password.txt | cut -c1-8    # " + s.Escrow.Check},
		Step{"list", "restic -r FOLDER --password-file password.txt --no-lock --no-cache snapshots"},
		Step{"sound", "restic -r FOLDER --password-file password.txt --no-lock --no-cache check --read-data"},
		Step{"restore", "restic -r FOLDER --password-file password.txt --no-lock --no-cache restore latest --target TARGET"},
		Step{"clean", "shred -u password.txt"})
}
