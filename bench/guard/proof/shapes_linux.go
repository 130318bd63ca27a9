package proof

// Shape is one way to attack a tree.
type Shape struct {
	Name   string
	Args   []string // of the simulator
	Script bool     // a shell script starts the simulator
	Each   bool     // a shell script starts one simulator for each file
	As     string   // name of the program, "" for encsim
	Class  bool     // stands for its class where one of each is enough
}

func flags(all ...string) []string { return all }

// Shapes lists the attacks that the guard is measured with.
func Shapes() []Shape {
	four := []string{"-threads", "4", "-shuffle"}
	with := func(args ...string) []string { return append(append([]string{}, four...), args...) }
	return []Shape{
		{Name: "in place, renamed; sorted, 1 thread", Args: flags("-rename")},
		{Name: "in place; shuffled, 1 thread", Args: flags("-shuffle")},
		{Name: "in place; sorted, 4 threads", Args: flags("-threads", "4")},
		{Name: "in place, renamed; shuffled, 4 threads", Args: with("-rename"), Class: true},
		{Name: "in place, renamed; shuffled, 4 threads, 417 files/s", Args: with("-rename", "-rate", "417"), Class: true},
		{Name: "in place; sorted, 1 thread, 417 files/s", Args: flags("-rate", "417")},
		{Name: "in place, header kept; shuffled, 4 threads", Args: with("-header", "4096"), Class: true},
		{Name: "copy, then delete; sorted, 1 thread", Args: flags("-way", "copy")},
		{Name: "copy, then delete; shuffled, 4 threads", Args: with("-way", "copy"), Class: true},
		{Name: "copy, then delete; shuffled, 4 threads, 417 files/s", Args: with("-way", "copy", "-rate", "417")},
		{Name: "replaced by a renamed copy; shuffled, 4 threads", Args: with("-way", "replace"), Class: true},
		{Name: "every 4th block; shuffled, 1 thread", Args: flags("-shuffle", "-every", "4"), Class: true},
		{Name: "every 4th block; sorted, 4 threads", Args: flags("-threads", "4", "-every", "4")},
		{Name: "every 4th block, header kept; shuffled, 4 threads, 417 files/s", Args: with("-every", "4", "-header", "4096", "-rate", "417")},
		{Name: "in place, with notes; shuffled, 4 threads", Args: with("-note")},
		{Name: "from a script; shuffled, 4 threads", Args: with(), Script: true, Class: true},
		{Name: "from a script, one process for each file; sorted", Args: flags(), Each: true, Class: true},
		{Name: "as photo-import, in place; shuffled, 4 threads", Args: with(), As: "photo-import", Class: true},
	}
}
