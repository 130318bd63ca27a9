package collect

// All returns the collectors for this machine and, apart, the one that samples
// the load.
func All(cfg Config) ([]Collector, Sampler) {
	out := []Collector{NewEventLog(cfg), NewProcesses(cfg)}
	if len(cfg.Files) > 0 {
		out = append(out, NewFiles(cfg))
	}
	if s := NewSensors(cfg); s != nil {
		out = append(out, s)
	}
	return out, NewHealth(cfg)
}
