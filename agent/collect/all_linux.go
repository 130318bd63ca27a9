package collect

// All returns the collectors for this machine and, apart, the one that samples
// the load. The journal is preferred to log files, and both to wtmp, so that
// nothing is reported twice.
func All(cfg Config) ([]Collector, Sampler) {
	h := NewHealth(cfg)
	out := []Collector{NewProcesses(cfg), h}
	if s := NewSensors(cfg); s != nil {
		out = append(out, s)
	}
	if j := NewJournal(cfg); j != nil {
		return append(out, j), h
	}
	f := NewFiles(cfg)
	out = append(out, f)
	if !f.hasAuth() {
		out = append(out, NewLogins(cfg))
	}
	return out, h
}
