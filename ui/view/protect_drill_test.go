package view

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/protect/drill"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/policy"
)

func TestADrillIsOfferedForWhatWasNeverProven(t *testing.T) {
	base := job.Source{Name: "pg", Kind: job.PostgreSQLBase}
	for name, tt := range map[string]struct {
		source job.Source
		level  drill.Level
		paths  []string
	}{
		"dumps of PostgreSQL":           {job.Source{Name: "emr", Kind: job.PostgreSQL, Databases: []string{"医事 課", "emr"}}, drill.Dump, []string{"/emr.%E5%8C%BB%E4%BA%8B%20%E8%AA%B2.dump", "/emr.emr.dump"}},
		"dumps of whatever it has":      {job.Source{Name: "emr", Kind: job.PostgreSQL}, drill.Dump, nil},
		"dumps of MariaDB":              {job.Source{Name: "emr", Kind: job.MariaDB, Databases: []string{"emr"}}, drill.Dump, []string{"/emr.emr.sql"}},
		"a base backup":                 {base, drill.Database, []string{"/pg.base.tar"}},
		"folders, which may hold dumps": {job.Source{Name: "files", Kind: job.Folder, Paths: []string{"/srv"}}, drill.Files, nil},
	} {
		level, paths := drillOf(tt.source)
		if diff := cmp.Diff(tt.paths, paths); level != tt.level || diff != "" {
			t.Errorf("%s: %s, %s", name, level, diff)
		}
	}
	part := policy.Part{Host: "ho-1", Unproven: []string{"pg"}, Policy: policy.Policy{Class: "dc-1"}}
	part.Policy.Sources = []job.Source{{Name: "emr", Kind: job.MariaDB}, base}
	if got := drillFor(part); got != "/protect/drills/new?class=dc-1&host=ho-1&level=database&path=%2Fpg.base.tar" {
		t.Errorf("went to %s", got)
	}
}
