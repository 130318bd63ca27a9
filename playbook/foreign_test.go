package playbook

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestPlaybooksOfOthersAreLeftToPeople walks through playbooks of others whose
// steps hold commands for shells, APIs and detection engines: each is a step of
// people with its commands as text, and none asks for anything.
func TestPlaybooksOfOthersAreLeftToPeople(t *testing.T) {
	files, err := filepath.Glob("cacao/testdata/foreign/*.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d playbooks of others: %v", len(files), err)
	}
	ends := map[string]RunState{"logic.json": Running} // its loop ends only where a program says so
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			x := newTable(t)
			r := x.begin(string(source))
			b, err := x.Book(t.Context(), r.Version)
			if err != nil {
				t.Fatal(err)
			}
			for range 30 {
				r = x.goOn(r, time.Minute) // a delay of a step is over
				v := firstOpen(r)
				if v == nil {
					break
				}
				if !b.Card(v.Step).Human() && len(v.Choose) == 0 {
					t.Fatalf("step %s waits for no person", v.Step)
				}
				if r, err = x.Report(t.Context(), r.ID, whateverFits(b, &r, v), anna); err != nil {
					t.Fatal(err)
				}
			}
			want := ends[filepath.Base(file)]
			if want == "" {
				want = Finished
			}
			if r.State != want {
				t.Errorf("the run is %s, want %s; open: %s", r.State, want, x.openSteps(r))
			}
			if len(x.acts.asked) != 0 {
				t.Errorf("actions were asked for: %+v", x.acts.asked)
			}
			x.intact()
		})
	}
}

func firstOpen(r Run) *Visit {
	for i, v := range r.Visits {
		if v.State == Open {
			return &r.Visits[i]
		}
	}
	return nil
}

// whateverFits is a report that answers everything that a step asks.
func whateverFits(b *Book, r *Run, v *Visit) Report {
	rep := Report{Visit: v.No, What: SayDone, Values: map[string]string{}}
	if len(v.Choose) > 0 {
		rep.Chosen = v.Choose[len(v.Choose)-1]
	}
	for _, n := range b.Returned(r, v.No) {
		if n.Type == "bool" {
			rep.Values[n.Name] = "true"
		}
	}
	return rep
}
