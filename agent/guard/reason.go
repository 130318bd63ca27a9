package guard

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Reason is one reason in words that a person understands.
type Reason struct {
	JA string `json:"ja"`
	EN string `json:"en"`
}

// words say what became of some files; %d is how many.
var words = map[Why]Reason{
	WhyRise:     {"読めるファイルが %d 個、意味のない(暗号化された)内容に変わった", "%d files that could be read were turned into noise (encrypted)"},
	WhyMagic:    {"画像や文書などのファイル %d 個が、その形式でなくなった", "%d files, such as pictures or documents, lost their type"},
	WhyDamaged:  {"画像や文書などのファイル %d 個の中身が、先頭を残して壊された(暗号化された)", "%d files, such as pictures or documents, were damaged behind their beginning (encrypted)"},
	WhyName:     {"名前と中身が合わない(暗号化された)ファイルが %d 個ある", "%d files hold noise instead of what their name says"},
	WhyDeleted:  {"暗号化された写しを作ってから、元のファイルを %d 個消した", "%d files were deleted after an encrypted copy was written"},
	WhyReplaced: {"ファイル %d 個が、暗号化された別のファイルに置き換えられた", "%d files were replaced by encrypted ones"},
	WhySuffix:   {"見慣れない拡張子を付けられた、意味のない(暗号化された)ファイルが %d 個ある", "%d files hold noise and were given an unusual suffix"},
	WhyCanary:   {"おとりのファイル %d 個が変えられた", "%d decoy files were changed"},
}

// order is that in which reasons are told.
var reasonOrder = []Why{WhyRise, WhyMagic, WhyDamaged, WhyName, WhyDeleted, WhyReplaced, WhySuffix, WhyCanary}

func reasons(v verdict, all []*culprit, note string) []Reason {
	var out []Reason
	add := func(r Reason, args ...any) {
		out = append(out, Reason{fmt.Sprintf(r.JA, args...), fmt.Sprintf(r.EN, args...)})
	}
	n := map[Why]int{}
	suffix, most := "", 0
	for _, l := range v.losses {
		if l.Canary {
			n[WhyCanary]++
			continue
		}
		n[l.Why]++
	}
	for _, why := range reasonOrder {
		if n[why] > 0 {
			add(words[why], n[why])
		}
	}
	for _, c := range all {
		for s, k := range c.renamed {
			if k > most {
				suffix, most = s, k
			}
		}
	}
	if most > 0 {
		add(Reason{"見慣れない拡張子 %q が %d 個のファイルに付けられた", "the unusual suffix %q was given to %d files"}, suffix, most)
	}
	if note != "" {
		add(Reason{"同じ名前の文書 %q が %d か所以上に置かれた(要求文のおそれ)", "a text called %q was put into %d folders or more (a ransom note?)"}, note, noteFolders)
	}
	for _, c := range all {
		for _, t := range c.tamper {
			add(Reason{"バックアップを消す命令が出された: %s", "backups were told to be destroyed: %s"}, t)
		}
	}
	return out
}

// shown is the name of a program in a sentence.
func shown(image string) string {
	if image == "" {
		return "?"
	}
	return strings.TrimSuffix(filepath.Base(image), " (deleted)")
}
