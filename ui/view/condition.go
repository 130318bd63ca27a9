package view

import (
	"strings"

	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/playbook/cacao"
)

// conditionWords says the condition of a step in plain words; "" when it has
// none or one that cannot be read.
func conditionWords(p Page, c *playbook.Card) string {
	switch {
	case c.Step.Switch != "":
		return p.T("condition.switch", "name", conditionName(p, c, c.Step.Switch))
	case c.Step.Condition == "":
		return ""
	}
	cond, err := cacao.ParseCondition(c.Step.Condition)
	if err != nil {
		return ""
	}
	return termWords(p, c, cond.Term())
}

func termWords(p Page, c *playbook.Card, t cacao.Term) string {
	switch t.Op {
	case "and", "or":
		var parts []string
		for _, part := range t.Terms {
			parts = append(parts, grouped(part, termWords(p, c, part)))
		}
		return strings.Join(parts, p.T("condition."+t.Op))
	case "not":
		return p.T("condition.not", "what", termWords(p, c, t.Terms[0]))
	}
	var values []string
	for _, v := range t.Values {
		values = append(values, p.T("condition.value", "value", conditionValue(p, c, t.Name, v)))
	}
	return p.T("condition.op."+opKey(t.Op), "name", conditionName(p, c, t.Name), "value", strings.Join(values, p.T("condition.comma")))
}

// grouped keeps together what another word would tear apart.
func grouped(t cacao.Term, words string) string {
	if t.Op == "and" || t.Op == "or" {
		return "(" + words + ")"
	}
	return words
}

// opKey is an operator as keys of the catalogue write it.
func opKey(op string) string {
	return map[string]string{"=": "is", "!=": "is-not", "<": "less", "<=": "at-most", ">": "more", ">=": "at-least", "IN": "one-of", "LIKE": "like", "ISSUBSET": "within"}[op]
}

// conditionName is what people call a variable or a fact.
func conditionName(p Page, c *playbook.Card, name string) string {
	if !strings.HasPrefix(name, "__") {
		return p.Known("condition.fact."+strings.ReplaceAll(name, ":", "."), name)
	}
	if q := c.Asked(name); q != nil && q.Text.In(p.Lang) != "" {
		return p.T("condition.answer", "question", q.Text.In(p.Lang))
	}
	return p.T("condition.value", "value", orValue(c.About(name), strings.TrimSuffix(name, ":value")))
}

// conditionValue is what people call a value of it.
func conditionValue(p Page, c *playbook.Card, name, value string) string {
	if q := c.Asked(name); q != nil {
		for _, o := range q.Options {
			if o.Value == value {
				return orValue(o.Text.In(p.Lang), value)
			}
		}
	}
	switch kind, _, _ := strings.Cut(name, ":"); kind {
	case "incident":
		_, of, _ := strings.Cut(name, ":")
		if known := p.Known("incident."+of+"."+value, ""); known != "" {
			return known
		}
	case "duty":
		if known := p.Known("duty.answer."+value, ""); known != "" {
			return known
		}
	}
	return p.Known("playbook.answer."+value, value)
}
