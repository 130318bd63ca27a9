package view

import (
	"strings"
	"testing"

	"github.com/sonae/sonae/playbook"
)

// TestConditionsInPlainWords reads the conditions of Sonae's own playbooks and
// of a foreign one.
func TestConditionsInPlainWords(t *testing.T) {
	own, err := playbook.Own()
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]map[string]string{"ja": {}, "en": {}} // condition as written → in words
	for _, b := range own {
		for _, c := range b.Cards {
			for lang := range said {
				words := conditionWords(Page{Lang: lang}, c)
				if written := c.Step.Condition + c.Step.Switch; written != "" {
					if words == "" || strings.Contains(words, "__") || strings.ContainsAny(words, "⟦⟧{}") {
						t.Errorf("%s %s: %q is said as %q", b.ID, lang, written, words)
					}
					said[lang][written] = words
				} else if words != "" {
					t.Errorf("a step without a condition says %q", words)
				}
			}
		}
	}
	for written, want := range map[string][2]string{
		`__over__:value != 'yes'`: {"「収まりましたか」への答えが「収まった」ではない", "the answer to “Is it over?” is not “Yes”"},
		`NOT (__copy__:value = 'yes' AND __theft__:value = 'no')`: {
			"次のことに当てはまらない:「暗号化された個人データと同じものが残っていますか」への答えが「はい」である、かつ、「持ち出しの跡がありますか」への答えが「いいえ」である",
			"it is not so that the answer to “Is the same personal data still there elsewhere?” is “Yes” and the answer to “Are there traces?” is “No”",
		},
	} {
		if got := said["ja"][written]; got != want[0] {
			t.Errorf("%s\nja %s", written, got)
		}
		if got := said["en"][written]; got != want[1] {
			t.Errorf("%s\nen %s", written, got)
		}
	}
}
