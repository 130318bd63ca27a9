//go:build !linux && !windows

package collect

// All returns the log files and sensors that cfg names: the sources that do not
// depend on Linux. There is no sampler.
func All(cfg Config) ([]Collector, Sampler) {
	var out []Collector
	if len(cfg.Files) > 0 {
		out = append(out, NewFiles(cfg))
	}
	if s := NewSensors(cfg); s != nil {
		out = append(out, s)
	}
	return out, nil
}
