package detect

import (
	"maps"
	"strings"

	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/event"
)

// SetLists puts threat lists into force, instead of those before. An event that
// names one of their indicators is judged a second time, as the event of that
// hit, which rules of the service "ioc" are about.
func (s *Switch) SetLists(set *ioc.Set) { s.watch.lists.Store(set) }

// Lists are the threat lists in force, nil for none.
func (s *Switch) Lists() *ioc.Set { return s.watch.lists.Load() }

// named looks whether an event names an indicator of a list in force.
func (e *Engine) named(ev *event.Event) (ioc.Hit, bool) {
	if e.watch == nil {
		return ioc.Hit{}, false
	}
	return e.watch.lists.Load().Event(ev, e.watch.now())
}

// saying puts what was named into the sentences of a rule: {indicator}, {list}
// and {confidence}. The event in the archive does not hold them.
func saying(r Rule, fields map[string]string) Rule {
	words := strings.NewReplacer("{indicator}", plain(fields[ioc.FieldValue]), "{list}", plain(fields[ioc.FieldName]), "{confidence}", plain(fields[ioc.FieldConfidence]))
	for _, text := range []*Text{&r.What, &r.Affects, &r.Next} {
		*text = maps.Clone(*text)
		for lang, sentence := range *text {
			(*text)[lang] = words.Replace(sentence)
		}
	}
	return r
}

// plain keeps what a list says from being taken for a placeholder.
func plain(s string) string { return strings.NewReplacer("{", "(", "}", ")").Replace(s) }
