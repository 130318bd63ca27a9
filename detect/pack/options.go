package pack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sonae/sonae/detect/sigma"
	"github.com/sonae/sonae/detect/sigma/pipeline"
)

// Options reads the folder with values of placeholders, which may be "", and
// pipelines, each a file or the name of one that comes with Sonae. Pipelines
// change every rule, those of lower priority first.
func Options(expand string, pipelines []string) (sigma.Options, error) {
	var opt sigma.Options
	if expand != "" {
		values, err := placeholders(expand)
		if err != nil {
			return opt, fmt.Errorf("values of placeholders in %s: %w", expand, err)
		}
		opt.Placeholders = values
	}
	if len(pipelines) == 0 {
		return opt, nil
	}
	ours, err := pipeline.Builtin()
	if err != nil {
		return opt, err
	}
	var list []*pipeline.Pipeline
	for _, name := range pipelines {
		p, err := readPipeline(name, ours)
		if err != nil {
			return opt, err
		}
		list = append(list, p)
	}
	pipeline.Sort(list)
	for _, p := range list {
		opt.Transforms = append(opt.Transforms, p.Transform)
	}
	return opt, nil
}

func placeholders(dir string) (sigma.Placeholders, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, plain(err)
	}
	if !info.IsDir() {
		return nil, errors.New("it is not a folder")
	}
	return sigma.ReadPlaceholders(os.DirFS(dir))
}

// readPipeline prefers a file to a name: who has a file of that name means it.
func readPipeline(name string, ours map[string]*pipeline.Pipeline) (*pipeline.Pipeline, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && ours[name] != nil {
		return ours[name], nil
	}
	if err != nil {
		return nil, fmt.Errorf("pipeline %s: %w", name, plain(err))
	}
	return pipeline.Parse(name, data)
}
