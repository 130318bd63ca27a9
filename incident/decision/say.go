package decision

import (
	"strconv"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/i18n"
)

// Say is a criterion with what was seen, as a sentence: 「警報の出た機器が3台以上
// （今は4台）」.
func (r Result) Say(lang string) string {
	m, _ := MeasureOf(r.Criterion.Measure)
	key := "decision.said"
	switch {
	case r.Mark == Unknown:
		key = "decision.said.unknown"
	case m.Unit == "answer":
		key = "decision.said.answer"
	}
	return i18n.T(lang, key, map[string]string{"measure": i18n.T(lang, "decision.measure."+m.ID, nil),
		"limit": Amount(lang, m, r.Criterion.AtLeast), "seen": Amount(lang, m, r.Seen.Value)})
}

// Amount writes a number of a measure with its unit.
func Amount(lang string, m Measure, n int64) string {
	switch m.Unit {
	case "answer":
		return i18n.T(lang, "decision.answer."+strconv.FormatBool(n > 0), nil)
	case "severity":
		return i18n.T(lang, "severity."+[...]string{"info", "low", "medium", "high", "critical"}[max(0, min(n, 4))], nil)
	}
	return i18n.T(lang, "decision.unit."+m.Unit, map[string]string{"n": i18n.Count(n)})
}

// text is a sentence in both languages.
func text(say func(lang string) string) detect.Text {
	out := detect.Text{}
	for _, lang := range []string{i18n.Japanese, i18n.English} {
		out[lang] = say(lang)
	}
	return out
}

// text is the result in both languages; nil: none.
func (r *Result) text() detect.Text {
	if r == nil {
		return nil
	}
	return text(r.Say)
}

// name is what the service is called in both languages.
func (v Service) text() detect.Text {
	return text(func(lang string) string {
		if v.Key == "" {
			return i18n.T(lang, "decision.whole", nil)
		}
		return v.Name
	})
}
