package incident

import (
	"strings"
	"time"

	"github.com/sonae/sonae/clock"
)

// Translate returns the sentence of a catalogue key in a language with its
// placeholders replaced, e.g. the function of package i18n.
type Translate = func(lang, key string, args map[string]string) string

// Say returns the entry as a sentence. What a person wrote is returned as it
// is. For what a stage wrote, the name of an argument says how it is shown:
//
//	<name>_key  a catalogue key; its sentence replaces {name}
//	<name>_at   a time in RFC 3339; {name} becomes that time in Japan
//	<name>_ja   text that exists in both languages (with <name>_en); {name}
//	<name>_en   becomes the one in the reader's
//	any other   {name} becomes the value, or names[value] where it is an id
//	            that has a name (persons, hosts, sites; also in lists "a, b")
//
// An empty value is shown as "—".
func (e Entry) Say(lang string, t Translate, names map[string]string) string {
	if e.Key == "" {
		return e.Text
	}
	args := make(map[string]string, len(e.Args))
	for k, v := range e.Args {
		if name, ok := strings.CutSuffix(k, "_key"); ok {
			args[name] = t(lang, v, nil)
			continue
		}
		if name, ok := strings.CutSuffix(k, "_at"); ok {
			args[name] = sayTime(v)
			continue
		}
		if name, own, ok := inLanguage(k, lang); ok {
			if own {
				args[name] = v
			}
			continue
		}
		args[k] = sayNames(v, names)
	}
	return t(lang, "entry."+e.Key, args)
}

// inLanguage says whether an argument is text in one language, and whether
// that is the reader's.
func inLanguage(arg, lang string) (name string, own, ok bool) {
	for _, l := range []string{"ja", "en"} {
		if name, ok := strings.CutSuffix(arg, "_"+l); ok {
			return name, l == lang, true
		}
	}
	return "", false, false
}

// sayTime writes the year as well: in a chronology a note from paper may be
// months old.
func sayTime(v string) string {
	at, err := time.Parse(time.RFC3339, v)
	if err != nil {
		return v
	}
	return at.In(clock.Tokyo()).Format("2006-01-02 15:04")
}

func sayNames(v string, names map[string]string) string {
	if v == "" {
		return "—"
	}
	if name := names[v]; name != "" {
		return name
	}
	if !strings.Contains(v, ", ") {
		return v
	}
	parts := strings.Split(v, ", ")
	for i, p := range parts {
		if name := names[p]; name != "" {
			parts[i] = name
		}
	}
	return strings.Join(parts, ", ")
}
