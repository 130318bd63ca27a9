package forecast

import (
	"encoding/json"
	"testing"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/protect/plan"
)

// Restores whose times the number of files and a fixed start explain say nothing
// of bytes. The forecast still is one, and a large service takes its time.
func TestAForecastOfRestoresThatSayNothingOfBytes(t *testing.T) {
	p := plan.Plan{Name: detect.Text{"ja": "計画"}, Staff: 2, Streams: 2, Sources: []plan.Source{{Key: plan.AtHub, Name: detect.Text{"ja": "保管庫"}, Rate: 100, Files: 1000}},
		Services: []plan.Service{{Key: "emr", Name: detect.Text{"ja": "電子カルテ"}, Source: plan.AtHub, Bytes: 400e9, Files: 600_000, Streams: 1, Staff: 1}}}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	for _, seconds := range [][3]float64{{40.4, 50.7, 6.5}, {33.3, 17.2, 2.2}, {5, 5, 5}, {1, 1, 100}} {
		all := []Restore{{At: noon(), Source: plan.AtHub, Bytes: 122e6, Files: 20_003, Seconds: seconds[0]}, {At: noon(), Source: plan.AtHub, Bytes: 122e6, Files: 20_003, Seconds: seconds[1]},
			{At: noon(), Source: plan.AtHub, Bytes: 46e6, Files: 1, Seconds: seconds[2]}}
		f := Make(Given{Plan: p, Restores: all, Terms: Assumed(p, "x"), Now: noon(), Runs: 200})
		if _, err := json.Marshal(f); err != nil || f.Services[0].Rate.Byte <= 0 || f.Back.P50 < 1 {
			t.Errorf("%v: %+v, %v: rate %+v", seconds, f.Back, err, f.Services[0].Rate)
		}
	}
}
