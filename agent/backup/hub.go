package backup

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/sonae/sonae/protect/job"
)

// hubTime bounds the hub's own backup.
const hubTime = 6 * time.Hour

// hub is the running hub, as its own program saves it: one file, encrypted for
// the keys of the source, which the machine itself cannot open.
func (w *work) hub(ctx context.Context, s job.Source) ([]stream, error) {
	program := "sonae"
	if self, err := os.Executable(); err == nil {
		if beside := filepath.Join(filepath.Dir(self), program); trusted(beside) == nil {
			program = beside
		}
	}
	file := filepath.Join(w.dir, "hub")
	args := []string{"backup", "--to", file}
	if s.Dir != "" {
		args = append(args, "--dir", s.Dir)
	}
	for _, key := range s.For {
		args = append(args, "--recipient", key)
	}
	ctx, done := context.WithTimeout(ctx, hubTime)
	defer done()
	if err := (tool{}).pour(ctx, io.Discard, program, args...); err != nil {
		return nil, err
	}
	return []stream{{"hub.age", func(_ context.Context, w io.Writer) error {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	}}}, nil
}
