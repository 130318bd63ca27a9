package scan

// blind tells what the rules could not see.
func (s *screen) blind(r *Result) {}
