package hub

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	restoredrill "github.com/sonae/sonae/protect/drill"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/policy"
)

// What a drill does not say of itself counts for it only where it can mean nothing
// else, and against all that it can mean.
func TestWhatADrillIsAbout(t *testing.T) {
	all := []policy.Policy{
		{ID: "bp-db", Class: "cl-1", Sources: []job.Source{{Name: "ehr", Kind: job.PostgreSQL}}},
		{ID: "bp-files", Class: "cl-1", Sources: []job.Source{{Name: "a", Kind: job.Folder, Paths: []string{"/srv/a"}}, {Name: "b", Kind: job.Folder, Paths: []string{`D:\b`}}}},
		{ID: "bp-list", Class: "cl-2", Sources: []job.Source{{Name: "list", Kind: job.Folder, Paths: []string{"/srv"}}}},
	}
	type thing = restoredrill.Thing
	shown := func(passed bool, class string, paths ...string) restoredrill.Shown {
		return restoredrill.Shown{Passed: passed, Level: restoredrill.Files, Class: class, Paths: paths}
	}
	said := shown(true, "cl-2")
	said.Thing = thing{Policy: "bp-db", Source: "ehr"}
	read := shown(false, "")
	read.Level = restoredrill.Bytes
	for name, tt := range map[string]struct {
		shown restoredrill.Shown
		want  []thing
	}{
		"as the snapshot says":       {said, []thing{{Policy: "bp-db", Source: "ehr"}}},
		"damage in the repository":   {read, []thing{{}}},
		"the only source of a class": {shown(true, "cl-2"), []thing{{Policy: "bp-list", Source: "list"}}},
		"anything of a class":        {shown(true, "cl-1"), nil},
		"anything at all":            {shown(true, ""), nil},
		"a stream":                   {shown(true, "", "/ehr.main.dump"), []thing{{Policy: "bp-db", Source: "ehr"}}},
		"a folder of Windows":        {shown(true, "", "/D/b/c"), []thing{{Policy: "bp-files", Source: "b"}}},
		"a folder of two policies":   {shown(true, "", "/srv/a/x"), nil},
		"a folder of the class":      {shown(true, "cl-1", "/srv/a/x"), []thing{{Policy: "bp-files", Source: "a"}}},
		"wrong, of a class":          {shown(false, "cl-1"), []thing{{Policy: "bp-db"}, {Policy: "bp-files"}}},
		"wrong, of anything":         {shown(false, ""), []thing{{Policy: "bp-db"}, {Policy: "bp-files"}, {Policy: "bp-list"}}},
	} {
		if diff := cmp.Diff(tt.want, drilled(tt.shown, all)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
