package playbook

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/playbook/cacao"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestOwnBooksAreCacao(t *testing.T) {
	all, err := Own()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		p, err := cacao.Parse(b.Source)
		if err != nil {
			t.Fatalf("%s: %v", b.Name.In("en"), err)
		}
		again, err := cacao.Emit(p)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(b.Source), string(again)); diff != "" {
			t.Errorf("%s is not written as it was read (-read +written):\n%s", b.Name.In("en"), diff)
		}
		golden := filepath.Join("testdata", "own", b.ID+".json")
		if *update {
			if err := os.WriteFile(golden, b.Source, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(b.Source)); diff != "" {
			t.Errorf("%s changed (-golden +now):\n%s", b.Name.In("en"), diff)
		}
	}
}

func TestOwnBooksSpeakBothLanguages(t *testing.T) {
	all, err := Own()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		if b.Name["ja"] == "" || b.Name["en"] == "" || b.About["ja"] == "" || b.About["en"] == "" {
			t.Errorf("%s: name and about in both languages", b.ID)
		}
		for _, c := range b.Cards {
			e := c.Ext
			texts := map[string]map[string]string{"name": e.Name}
			if c.Human() || e.Action != nil {
				texts["do"], texts["role"] = e.Description, e.Role
			}
			for name, text := range map[string]map[string]string{"call": e.CallScript, "paper": e.PaperForm, "undo": e.Reversal} {
				if len(text) > 0 {
					texts[name] = text
				}
			}
			for name, text := range texts {
				if text["ja"] == "" || text["en"] == "" || len(text) != 2 {
					t.Errorf("%s, card %d: %s is %v", b.Name.In("en"), c.No, name, text)
				}
			}
			if c.Human() && e.Deadline == nil {
				t.Errorf("%s, card %d %s: no time and no article", b.Name.In("en"), c.No, e.Name.In("en"))
			}
		}
	}
}
