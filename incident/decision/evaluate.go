package decision

// judge holds criteria against what was seen and recommends: the strictest that
// fired calls, and the criteria about care that fired hold it back. What is not
// known neither calls nor holds back. Without anything known that could call,
// nothing is recommended.
func (e *Evaluation) judge(criteria []Criterion, seen map[string]Seen) {
	e.Results, e.Verdict, e.Called, e.Limited, e.Unknown = make([]Result, 0, len(criteria)), "", -1, -1, 0
	known := false
	for i, c := range criteria {
		r := Result{Criterion: c, Mark: Unknown, Seen: seen[c.Measure]}
		r.Seen.Measure = c.Measure
		if r.Seen.Known {
			r.Mark = Not
			if r.Seen.Value >= c.AtLeast {
				r.Mark = Fired
			}
		}
		e.Results = append(e.Results, r)
		switch {
		case r.Mark == Unknown:
			e.Unknown++
		case c.Kind() == Care:
		case r.Mark == Fired && (e.Called < 0 || c.Verdict.stricter(criteria[e.Called].Verdict)):
			e.Called = i
		}
		known = known || r.Mark != Unknown && c.Kind() != Care
	}
	if !known {
		return
	}
	e.Verdict = Keep
	if e.Called >= 0 {
		e.Verdict = criteria[e.Called].Verdict
		e.hold(criteria)
	}
}

// hold lets the criteria about care that fired hold the verdict back.
func (e *Evaluation) hold(criteria []Criterion) {
	for i, r := range e.Results {
		if c := criteria[i]; c.Kind() == Care && r.Mark == Fired && e.Verdict.stricter(c.Verdict) {
			e.Verdict, e.Limited = c.Verdict, i
		}
	}
}

// CalledBy is the result that calls for the verdict, nil when none fired.
func (e Evaluation) CalledBy() *Result { return e.at(e.Called) }

// LimitedBy is the result about care that holds the verdict back, nil if none.
func (e Evaluation) LimitedBy() *Result { return e.at(e.Limited) }

func (e Evaluation) at(i int) *Result {
	if i < 0 || i >= len(e.Results) {
		return nil
	}
	return &e.Results[i]
}

// worse orders evaluations: the strictest first, then those with less unknown.
func worse(a, b Evaluation) bool {
	if a.Verdict != b.Verdict {
		return a.Verdict.stricter(b.Verdict)
	}
	return a.Unknown < b.Unknown
}
