package evidence

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/blob/blobtest"
	"github.com/sonae/sonae/evidence/stamp"
	"github.com/sonae/sonae/evidence/stamp/stamptest"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state/statetest"
)

// inStore makes each rig keep its bags in a shared store.
var inStore bool

// TestInASharedStore runs the tests of the Vault again, with a shared store. Those
// that change the folder behind a hub's back have no place here: it is a cache.
func TestInASharedStore(t *testing.T) {
	inStore = true
	defer func() { inStore = false }()
	for name, test := range map[string]func(*testing.T){
		"SealedBagIsCheckedByStrangers":                TestSealedBagIsCheckedByStrangers,
		"ExportCarriesItsOwnCustody":                   TestExportCarriesItsOwnCustody,
		"EveryChangedByteIsNamed":                      TestEveryChangedByteIsNamed,
		"AddedRemovedAndRenamedFilesAreNamed":          TestAddedRemovedAndRenamedFilesAreNamed,
		"WhatIsNotReceived":                            TestWhatIsNotReceived,
		"SendingAgain":                                 TestSendingAgain,
		"ManySendersAtOnce":                            TestManySendersAtOnce,
		"SealingGoesOnAfterACrash":                     TestSealingGoesOnAfterACrash,
		"BagIsSealedWhenTheTimeStampAuthorityIsSilent": TestBagIsSealedWhenTheTimeStampAuthorityIsSilent,
		"SealedMessageIsSmallHoweverManyItemsThereAre": TestSealedMessageIsSmallHoweverManyItemsThereAre,
		"NothingIsReceivedOntoAFullDisk":               TestNothingIsReceivedOntoAFullDisk,
		"BagsOfASiteAreSelectedBeforePaging":           TestBagsOfASiteAreSelectedBeforePaging,
		"VerifyNamesChangedCustodyAndMissingBags":      TestVerifyNamesChangedCustodyAndMissingBags,
	} {
		t.Run(name, test)
	}
}

// another is a further hub: its own folder and connections, the same state,
// store and ledger.
func (r *rig) another() *rig {
	r.t.Helper()
	o := *r
	o.dir, o.db = r.t.TempDir(), statetest.OpenAt(r.t, r.at)
	var err error
	o.Vault, err = New(o.db, filepath.Join(o.dir, "evidence"), Deps{Ledger: r.prover, Key: r.key, Stamp: r.stamp, Store: r.store, MaxItem: 1 << 20,
		MaxBag: 4 << 20, Now: time.Now, Log: slog.New(slog.NewTextHandler(r.t.Output(), nil))})
	r.must(err)
	return &o
}

// sharedRig is a hub whose bags lie in store.
func sharedRig(t *testing.T, store blob.Store, stamper Stamper) *rig {
	t.Helper()
	r := newRig(t, stamper)
	r.store = store
	r.reopen()
	return r
}

// TestHubsShareABag: what one hub received another one goes on with, seals and
// hands out; two that seal at once, and a new hub in the middle, do no harm.
func TestHubsShareABag(t *testing.T) {
	blobtest.Each(t, func(t *testing.T, store blob.Store) {
		tsa := stamptest.Start(t)
		c, err := stamp.New(stamp.Config{URL: tsa.URL, Roots: tsa.Roots})
		if err != nil {
			t.Fatal(err)
		}
		one := sharedRig(t, store, c)
		two := one.another()
		one.must(one.OpenBag(t.Context(), preserve))
		var wg sync.WaitGroup
		for n := range 12 {
			for i, hub := range []*rig{one, two} {
				wg.Go(func() {
					body := fmt.Appendf(nil, "content %d of hub %d", n, i*(n%2)) // every second is the same at both
					if err := hub.send(item(fmt.Sprintf("files/%d.txt", n)), body); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		one.another() // starts while nothing is sealed yet
		for _, hub := range []*rig{one, two} {
			wg.Go(func() {
				if err := hub.Seal(t.Context(), "bag-1", false); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if err := two.send(item("late"), []byte("x")); fault.Of(err) != fault.Conflict {
			t.Errorf("after sealing: got %v", err)
		}
		three := one.another()
		b, err := three.Get(t.Context(), "bag-1")
		if err != nil || b.State != Sealed || b.Kept != 18 || !b.Stamped {
			t.Fatalf("got %+v, %v", b, err)
		}
		to := filepath.Join(t.TempDir(), "bag.zip")
		three.must(os.WriteFile(to, three.zip("警察へ渡す"), 0o600))
		if rep := three.intact(to); rep.Bag != "bag-1" || rep.Files != 18 {
			t.Errorf("got %+v", rep)
		}
	})
}

// TestDamageInTheStoreIsNotSealed names what is not there any more as it was.
func TestDamageInTheStoreIsNotSealed(t *testing.T) {
	dir := t.TempDir()
	store, err := blob.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := sharedRig(t, store, nil)
	r.must(r.OpenBag(t.Context(), preserve))
	r.must(r.send(item("a"), []byte("abc")))
	first := blobtest.Names(t, store, "", "")[0]
	r.must(os.WriteFile(filepath.Join(dir, filepath.FromSlash(first)), []byte("abd"), 0o600))
	err = r.Seal(t.Context(), "bag-1", false)
	wantFault(t, err, fault.Conflict, "evidence.damaged")
	r.must(store.Remove(t.Context(), first))
	r.must(store.Put(t.Context(), first, strings.NewReader("abc"), 3))
	r.must(store.Put(t.Context(), "bag-1/data/of-nobody", bytes.NewReader(nil), 0)) // a hub ended between the object and its row
	r.must(r.Seal(t.Context(), "bag-1", false))
	if got := blobtest.Names(t, store, "bag-1/data/", ""); len(got) != 1 {
		t.Errorf("the store has %q", got)
	}
}
