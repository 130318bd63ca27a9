// Package i18n holds every sentence people read, in Japanese and English, and
// writes times, sizes and counts the way each language expects them.
//
// In: a language, a key, values for placeholders. Out: text. Always true: both
// languages have the same keys with the same placeholders (a test compares
// them); an unknown key is shown as ⟦key⟧ and never as an empty space; nothing
// here escapes HTML, whoever renders it does.
package i18n

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"sync"
)

// Languages of the product; the first is the one that is written first.
const (
	Japanese = "ja"
	English  = "en"
)

//go:embed ja/*.json en/*.json
var files embed.FS

// catalogues reads the embedded files once. They are our own tables: what is
// wrong with them is a bug, found by the test of this package.
var catalogues = sync.OnceValue(func() map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, lang := range Languages() {
		words, err := load(files, lang)
		if err != nil {
			panic("i18n: " + err.Error())
		}
		all[lang] = words
	}
	return all
})

// Languages returns the codes of all languages, Japanese first.
func Languages() []string { return []string{Japanese, English} }

// Known says whether lang is a language of the product.
func Known(lang string) bool { return lang == Japanese || lang == English }

// load merges the files of one language. A key may stand in one file only.
func load(fsys fs.FS, lang string) (map[string]string, error) {
	names, err := fs.Glob(fsys, lang+"/*.json")
	if err != nil {
		return nil, fmt.Errorf("list catalogue %s: %w", lang, err)
	}
	words, from := map[string]string{}, map[string]string{}
	for _, name := range names {
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("read catalogue: %w", err)
		}
		var area map[string]string
		if err := json.Unmarshal(b, &area); err != nil {
			return nil, fmt.Errorf("catalogue %s: %w", name, err)
		}
		for k, v := range area {
			if other, twice := from[k]; twice {
				return nil, fmt.Errorf("catalogue %s: key %q stands in %s too", name, k, path.Base(other))
			}
			words[k], from[k] = v, name
		}
	}
	return words, nil
}

// Has says whether the Japanese catalogue knows key.
func Has(key string) bool { _, ok := catalogues()[Japanese][key]; return ok }

// T returns the sentence of key in lang with its {name} placeholders replaced
// from args. A placeholder without a value stays visible. An unknown language
// reads as Japanese; an unknown key is returned as ⟦key⟧.
func T(lang, key string, args map[string]string) string {
	words, ok := catalogues()[lang]
	if !ok {
		words = catalogues()[Japanese]
	}
	text, ok := words[key]
	if !ok {
		return "⟦" + key + "⟧"
	}
	return Fill(text, args)
}

var placeholder = regexp.MustCompile(`\{[a-z0-9_]+\}`)

// Fill replaces {name} in text from args in one pass, so that a value which
// itself looks like a placeholder is not replaced again.
func Fill(text string, args map[string]string) string {
	if len(args) == 0 || !strings.Contains(text, "{") {
		return text
	}
	return placeholder.ReplaceAllStringFunc(text, func(p string) string {
		if v, ok := args[p[1:len(p)-1]]; ok {
			return v
		}
		return p
	})
}
