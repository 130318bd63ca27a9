package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/bus"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/evidence/bag"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/cause"
	"github.com/sonae/sonae/incident/decision"
	"github.com/sonae/sonae/incident/paper"
	"github.com/sonae/sonae/incident/task"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/notify/desktop"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/protect/anomaly"
	copies "github.com/sonae/sonae/protect/copy"
	"github.com/sonae/sonae/protect/drill"
	"github.com/sonae/sonae/protect/forecast"
	"github.com/sonae/sonae/protect/plan"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/protect/restic"
	restores "github.com/sonae/sonae/protect/restore"
	"github.com/sonae/sonae/protect/vault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/report/beside"
	"github.com/sonae/sonae/report/html"
	"github.com/sonae/sonae/report/sheet"
	"github.com/sonae/sonae/search"
	"github.com/sonae/sonae/search/threat"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Exit statuses of verify.
const (
	intact      = 0
	differs     = 1
	notVerified = 2 // not something that can be verified
)

// keyFile is where a hub writes the public key of its ledger.
const keyFile = "ledger-key.txt"

// check is one run of verify.
type check struct {
	key         string // verifier key of the ledger; empty: what lies beside the path
	witnesses   []ledger.WitnessKey
	against     []string       // files with earlier checkpoints
	words       []ledger.Words // what people read out of printed checkpoints
	state       string         // PostgreSQL database of a hub's rows; empty: SQLite in its folder
	password    string         // file with the password of a restic repository
	progress    io.Writer      // what takes long says here how far it is
	store       *blob.S3       // where several hubs keep archive and evidence; nil: in the folder
	out         io.Writer
	differences int
}

func verify(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("sonae verify", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: sonae verify [--key KEY|FILE] [--witness-key KEY|FILE]… [--against CHECKPOINT]… [--words WORDS]… [--state DATABASE [--s3 STORAGE]] PATH\n       sonae verify --password-file FILE PATH\n\nPATH is an evidence bag (folder or zip), an export of paper (folder or zip), an exported document (other formats than HTML with their .proof beside them), proof or checkpoint, an archive, a ledger or a hub's folder; with --password-file a restic repository.\nExit status: 0 intact, 1 with the differences named, 2 not something that can be verified.")
		flags.PrintDefaults()
	}
	key := flags.String("key", "", "public key of the hub's ledger, or a file with it; without it the key beside or inside PATH is used")
	var witnessKeys, against, words several
	flags.Var(&witnessKeys, "witness-key", "public key of a witness, or a file with it: the ledger must extend a checkpoint that this witness cosigned")
	flags.Var(&against, "against", "file with an earlier checkpoint: the ledger must extend it")
	flags.Var(&words, "words", "number and words of a printed checkpoint, in kana or Latin letters: the ledger must extend it")
	db := flags.String("state", "", "PostgreSQL database (postgres://…) with the rows of the hub whose folder PATH is; without it state.db in the folder is used")
	password := flags.String("password-file", "", "file with the password of the restic repository that PATH is")
	storage := storageFlags(flags)
	if status, ok := parsed(flags, args); !ok {
		return status
	}
	store, err := storage()
	if flags.NArg() != 1 || *db != "" && !state.IsPostgres(*db) || err != nil || store != nil && *db == "" {
		flags.Usage()
		return notVerified
	}
	c := &check{store: store, key: readKey(*key), state: *db, password: *password, out: stdout, progress: stderr, against: against}
	if err := ledger.CheckKey(c.key); *key != "" && err != nil { // a mistyped key must not accuse what it checks
		complain(stderr, "verify", fmt.Errorf("--key %s: %w", *key, errKey))
		return notVerified
	}
	if err := errors.Join(c.trust(witnessKeys), c.said(words)); err != nil {
		complain(stderr, "verify", err)
		return notVerified
	}
	if err := c.path(ctx, filepath.Clean(flags.Arg(0))); err != nil {
		complain(stderr, "verify", err)
		if c.differences == 0 { // else it cannot be read because it was changed
			return notVerified
		}
	}
	if c.differences > 0 {
		fmt.Fprintf(stdout, "NOT INTACT: differences: %d\n", c.differences)
		return differs
	}
	fmt.Fprintln(stdout, "intact")
	return intact
}

// readKey accepts the key itself or a file that holds it.
func readKey(s string) string {
	if b, err := os.ReadFile(s); err == nil && s != "" {
		s = string(b)
	}
	return strings.TrimSpace(s)
}

var (
	errNoKey   = errors.New("there is no public key")
	errKey     = errors.New("it is neither a public key nor a file with one")
	errNoHub   = errors.New("not a hub's folder, which --state is for")
	errNoState = errors.New("a hub's folder without state.db: give the database of its rows with --state")
	errBeside  = errors.New("a document of this format is checked by its proof: put it beside the file, named like the file with .proof behind it")
	errKind    = errors.New("not an evidence bag, export of paper, document, proof, checkpoint, archive, ledger, hub folder or restic repository")
	errOther   = errors.New("not a restic repository, which --password-file is for")
	errSealed  = errors.New("a restic repository: give the file with its password with --password-file")
)

// path finds out what path is and checks it.
func (c *check) path(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	has := func(name string) bool { _, err := os.Lstat(filepath.Join(path, name)); return err == nil }
	if _, err := os.Lstat(path + beside.Suffix); err == nil && info.Mode().IsRegular() {
		if done, err := c.paperFile(path); done || err != nil {
			return err
		}
		return c.beside(path)
	}
	exported, err := exportedKind(path, info)
	if err != nil {
		return err
	}
	if demands := len(c.witnesses)+len(c.against)+len(c.words) > 0; demands && exported == "" && !(info.IsDir() && (has("state.db") || has("ledger") || has("manifest.jsonl") || has("checkpoint"))) {
		return fmt.Errorf("%s: --witness-key, --against and --words are for a ledger, an archive beside it, a hub's folder, or an exported proof or checkpoint", path)
	}
	switch {
	case c.password != "":
		return c.repository(ctx, path)
	case exported != "":
		return c.exported(path, exported)
	case !info.IsDir() && strings.HasSuffix(path, ".html"):
		return c.document(path)
	case (info.IsDir() || strings.HasSuffix(path, ".zip")) && paper.IsExport(path):
		return c.paperExport(path)
	case !info.IsDir() && strings.HasSuffix(path, ".zip"), info.IsDir() && has(bag.TagManifest), info.IsDir() && has(bag.Declaration):
		return c.bag(path)
	case info.IsDir() && has("ledger") && c.store != nil:
		return c.settled(ctx, path, func() error { return c.hubs(ctx, path) })
	case info.IsDir() && has("state.db") && c.state == "":
		return c.settled(ctx, path, func() error { return c.hub(ctx, path, filepath.Join(path, "state.db")) })
	case info.IsDir() && has("ledger") && has("archive") && c.state != "":
		return c.settled(ctx, path, func() error { return c.hub(ctx, path, c.state) })
	case c.state != "":
		return fmt.Errorf("%s: %w", path, errNoHub)
	case info.IsDir() && has("ledger") && has("archive"):
		return fmt.Errorf("%s: %w", path, errNoState)
	case info.IsDir() && has("manifest.jsonl"):
		return c.archiveOf(ctx, path, filepath.Join(filepath.Dir(path), "ledger"))
	case info.IsDir() && has("checkpoint"):
		_, err := c.ledger(ctx, path)
		return err
	case restic.IsRepository(path):
		return fmt.Errorf("%s: %w", path, errSealed)
	}
	if slices.Contains([]string{".docx", ".xlsx", ".pdf", ".json", ".txt"}, filepath.Ext(path)) {
		return fmt.Errorf("%s: %w", path, errBeside)
	}
	return fmt.Errorf("%s: %w", path, errKind)
}

// keyFor returns the key to check with, and says where it comes from.
func (c *check) keyFor(dir string) (string, error) {
	if c.key != "" {
		return c.key, nil
	}
	file := filepath.Join(dir, keyFile)
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, errNoKey)
	}
	fmt.Fprintf(c.out, "key: %s (it lies beside what is checked; compare it with the printed one, or give --key)\n", file)
	return strings.TrimSpace(string(b)), nil
}

// differsWord begins the line of a difference.
const differsWord = "DIFFERS"

func (c *check) differ(what string) {
	c.differences++
	fmt.Fprintln(c.out, differsWord, what)
}

// note says what an interrupted write left behind: nothing was changed.
func (c *check) note(what string) { fmt.Fprintln(c.out, "note:", what) }

func (c *check) document(path string) error {
	key, err := c.keyFor(filepath.Dir(path))
	if err != nil {
		return err
	}
	r, err := html.Verify(path, key)
	if err != nil {
		return err
	}
	for _, p := range r.Problems {
		c.differ(path + ": " + p)
	}
	fmt.Fprintf(c.out, "document %s, recorded %s\n", r.Document, r.RecordedAt)
	return nil
}

// beside checks a document in another format than HTML by the proof beside it.
func (c *check) beside(path string) error {
	key, err := c.keyFor(filepath.Dir(path))
	if err != nil {
		return err
	}
	r, err := beside.Verify(path, key)
	if err != nil {
		return err
	}
	for _, p := range r.Problems {
		c.differ(path + ": " + p)
	}
	fmt.Fprintf(c.out, "document %s, recorded %s\n", r.Document, r.RecordedAt)
	return nil
}

func (c *check) bag(path string) error {
	r, err := bag.Verify(path, c.key)
	if err != nil {
		return err
	}
	if r.OwnKey {
		fmt.Fprintln(c.out, "key: the bag's own (compare it with the hub's printed key, or give --key)")
	}
	for _, d := range r.Differences {
		c.differ(filepath.Join(path, d.String()))
	}
	if r.Bag == "" { // the proof, which names it, proves nothing
		fmt.Fprintf(c.out, "bag: %d files, %d bytes, not proved to be recorded\n", r.Files, r.Bytes)
		return nil
	}
	fmt.Fprintf(c.out, "bag %s: %d files, %d bytes, recorded %s\n", r.Bag, r.Files, r.Bytes, r.LoggedAt.Format(time.RFC3339))
	if r.Stamped {
		fmt.Fprintf(c.out, "time stamp: %s speaks of this manifest; check its signature with the authority's certificate\n", bag.Stamp)
	}
	return nil
}

// ledger checks a ledger and returns its leaves.
func (c *check) ledger(ctx context.Context, dir string) ([]leaf.Leaf, error) {
	key, err := c.keyFor(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	earlier, err := c.earlier(dir, key) // before the ledger, which a running hub extends meanwhile
	if err != nil {
		return nil, err
	}
	r, err := ledger.Verify(ctx, dir, key, earlier...)
	if err != nil {
		return nil, err
	}
	for _, d := range r.Contradictions {
		c.differ(d.String())
	}
	for _, d := range r.Differences {
		c.differ(filepath.Join(dir, d.String()))
	}
	for _, l := range r.Leftovers {
		c.note(filepath.Join(dir, l.String()))
	}
	leaves, err := ledger.Scan(dir)
	if err != nil && len(r.Differences) == 0 { // else it was changed, as said above, and the rest of it serves
		return nil, err
	}
	fmt.Fprintf(c.out, "ledger: %d leaves\n", len(leaves))
	c.seen(earlier, r.Contradictions, uint64(len(leaves)))
	return leaves, nil
}

// byType returns the leaves of one type.
func byType(leaves []leaf.Leaf) func(kind string) []leaf.Leaf {
	return func(kind string) []leaf.Leaf {
		return slices.DeleteFunc(slices.Clone(leaves), func(l leaf.Leaf) bool { return l.Type != kind })
	}
}

func (c *check) archiveOf(ctx context.Context, dir, ledgerDir string) error {
	leaves, err := c.ledger(ctx, ledgerDir)
	if err != nil {
		return err
	}
	return c.archive(ctx, dir, leaves)
}

func (c *check) archive(ctx context.Context, dir string, leaves []leaf.Leaf) error {
	r, err := archive.Verify(ctx, dir, byType(leaves))
	if err != nil {
		return err
	}
	for _, d := range r.Differences {
		c.differ(filepath.Join(dir, d.String()))
	}
	for _, l := range r.Leftovers {
		c.note(filepath.Join(dir, l.String()))
	}
	fmt.Fprintf(c.out, "archive: %d segments\n", r.Checked.Segments)
	return nil
}

// hub checks everything that a hub keeps and the ledger has a digest of:
// archive, chronology, decisions, orders, custody, bags.
func (c *check) hub(ctx context.Context, dir, at string) error {
	leaves, err := c.ledger(ctx, filepath.Join(dir, "ledger"))
	if err != nil {
		return err
	}
	if err := c.archive(ctx, filepath.Join(dir, "archive"), leaves); err != nil {
		return err
	}
	leaves = append(leaves, c.waiting(ctx, filepath.Join(dir, "bus"))...)
	db, err := state.OpenReadOnly(at)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := c.rows(ctx, db, leaves); err != nil {
		return err
	}
	inFolder := func(name string) (io.ReadCloser, error) {
		return os.Open(filepath.Join(dir, "paper", filepath.FromSlash(name)))
	}
	if err := c.keptPaper(ctx, db, inFolder); err != nil {
		return err
	}
	logs, err := vault.VerifyLogs(ctx, db, filepath.Join(dir, "repositories"))
	if err != nil {
		return err
	}
	for _, d := range logs {
		c.differ("repositories: " + d.String())
	}
	return c.bags(ctx, db, dir, readKey(filepath.Join(dir, keyFile)))
}

// bags checks the folders of all sealed bags, and names folders of bags that
// nobody opened.
func (c *check) bags(ctx context.Context, db *state.DB, dir, key string) error {
	sealed, err := evidence.SealedBags(ctx, db)
	if err != nil {
		return err
	}
	for _, id := range sealed {
		if err := c.sealed(filepath.Join(dir, "evidence", id), key); err != nil {
			return err
		}
	}
	known, err := evidence.Bags(ctx, db)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(dir, "evidence"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(known, e.Name()) {
			c.differ(filepath.Join(dir, "evidence", e.Name()) + ": no such bag was opened")
		}
	}
	return nil
}

// waiting returns the leaves that were on their way to the ledger when the hub
// stopped; it puts them in when it starts again.
func (c *check) waiting(ctx context.Context, dir string) []leaf.Leaf {
	var leaves []leaf.Leaf
	err := bus.Waiting(ctx, dir, "record", func(_ string, body []byte) error {
		var l leaf.Leaf
		if err := json.Unmarshal(body, &l); err == nil { // a damaged one records nothing
			leaves = append(leaves, l)
		}
		return nil
	})
	if err != nil {
		c.note("what waits to be recorded cannot be read: " + err.Error())
	}
	if len(leaves) > 0 {
		c.note(fmt.Sprintf("%d records were not in the ledger yet when the hub stopped", len(leaves)))
	}
	return leaves
}

// rows checks what the state holds of chronology, facts, documents and of
// people's log-ins and rights.
func (c *check) rows(ctx context.Context, db *state.DB, leaves []leaf.Leaf) error {
	entries, err := incident.VerifyRows(ctx, db, nil, byType(leaves))
	if err != nil {
		return err
	}
	for _, d := range entries {
		c.differ("chronology: " + d.String())
	}
	facts, err := duty.VerifyRows(ctx, db, byType(leaves))
	if err != nil {
		return err
	}
	for _, d := range facts {
		c.differ("facts: " + d.String())
	}
	documents, err := report.VerifyRows(ctx, db, byType(leaves))
	if err != nil {
		return err
	}
	for _, d := range documents {
		c.differ("document: " + d.String())
	}
	people, err := auth.VerifyRows(ctx, db, byType(leaves))
	if err != nil {
		return err
	}
	for _, d := range people {
		c.differ("log-ins and rights: " + d.String())
	}
	if err := c.recorded(ctx, db, leaves); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "chronology, facts, documents, log-ins and rights, decisions, orders, limits of blocks, cuts of sites, standing policies, devices, sites and hosts, alerts, custody: checked row by row")
	return nil
}

// recorded checks what else has a digest in the ledger.
func (c *check) recorded(ctx context.Context, db *state.DB, leaves []leaf.Leaf) error {
	var waiting int
	if err := db.QueryRow(ctx, `SELECT COUNT(*) FROM outbox WHERE subject LIKE 'record.%'`).Scan(&waiting); err != nil {
		return err
	}
	if waiting > 0 {
		c.note(fmt.Sprintf("%d records still wait in state.db to be put into the ledger; nothing proves when they were made", waiting))
	}
	for _, t := range []struct {
		what   string
		verify func(context.Context, *state.DB, func(string) []leaf.Leaf) ([]rows.Difference, error)
	}{
		{"decisions and orders", action.VerifyRows}, {"limits of blocks", action.VerifyLimits}, {"standing policies", action.VerifyPolicies},
		{"cuts of sites", action.VerifyCuts},
		{"devices", device.VerifyRows}, {"sites and hosts", asset.VerifyRows}, {"alerts", alert.VerifyRows}, {"custody and bags", evidence.VerifyRows},
		{"looks at events and own rules", search.VerifyRows}, {"threat lists", threat.VerifyRows},
		{"decisions about services and criteria", decision.VerifyRows}, {"playbooks", playbook.VerifyRows}, {"executive sheets", sheet.VerifyRows}, {"who is told", notify.VerifyRows}, {"messages on screens", desktop.VerifyRows}, {"decisions about duties", duty.VerifyDecisions},
		{"tasks, roles, hours and hand-overs", task.VerifyRows},
		{"pictures, memos and logs", paper.VerifyRows}, {"causes and improvements", cause.VerifyRows}, {"classes of data, backup policies and runs", policy.VerifyRows},
		{"repositories", vault.VerifyRows}, {"answers about backups and clean points", anomaly.VerifyRows},
		{"restore drills", drill.VerifyRows},
		{"copies of backups", copies.VerifyRows}, {"restores", restores.VerifyRows},
		{"restore plans", plan.VerifyRows}, {"prices and measured restores", forecast.VerifyRows},
	} {
		found, err := t.verify(ctx, db, byType(leaves))
		if err != nil {
			return err
		}
		for _, d := range found {
			c.differ(t.what + ": " + d.String())
		}
	}
	return nil
}

// sealed checks a bag that must be there, with the hub's own key.
func (c *check) sealed(path, key string) error {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		c.differ(path + ": the bag is missing")
		return nil
	}
	sub := &check{key: cmp.Or(c.key, key), out: c.out}
	err := sub.bag(path)
	c.differences += sub.differences
	if errors.Is(err, bag.ErrNotABag) {
		c.differ(path + ": " + err.Error())
		return nil
	}
	return err
}
