package view

import (
	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/i18n"
)

// practiceWords are the keys of what the practice incident calls its site, its
// host and the work done there.
var practiceWords = [...]string{"drill.name.site", "drill.name.contact", "drill.name.host", "drill.name.service", "drill.name.effect", "drill.name.load"}

// Practised returns a name that the practice incident gave, in the reader's
// language; any other text as it is.
func Practised(lang, text string) string {
	for _, key := range practiceWords {
		if text == i18n.T(i18n.Japanese, key, nil) {
			return i18n.T(lang, key, nil)
		}
	}
	return text
}

// stops are the consequences of an action in the reader's language.
func stops(p Page, a action.Action) []action.Consequence {
	if !a.Drill {
		return a.Consequences
	}
	out := make([]action.Consequence, 0, len(a.Consequences))
	for _, c := range a.Consequences {
		out = append(out, action.Consequence{Service: Practised(p.Lang, c.Service), Effect: Practised(p.Lang, c.Effect), Load: Practised(p.Lang, c.Load)})
	}
	return out
}
