package cacao

import (
	"encoding/base64"
	"encoding/hex"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Variables of a step are known in the step and in everything that it refers
// to (section 10.18): the branches of a parallel, if, while or switch step too.

// inner are the first steps of the branches of a step, without what comes
// behind it.
func (s *Step) inner() []string {
	all := append([]string{s.OnTrue, s.OnFalse}, s.NextSteps...)
	for _, to := range s.Cases {
		all = append(all, to)
	}
	return slices.DeleteFunc(all, func(id string) bool { return id == "" })
}

// scopes finds for each step the steps in whose branches it stands.
func (c *checker) scopes() {
	c.within = map[string][]*Step{}
	for _, s := range c.p.Workflow {
		if s == nil || len(s.Variables) == 0 {
			continue
		}
		seen := map[string]bool{}
		for todo := s.inner(); len(todo) > 0; {
			id := todo[0]
			todo = todo[1:]
			if in := c.p.Workflow[id]; in != nil && !seen[id] {
				seen[id] = true
				c.within[id] = append(c.within[id], s)
				todo = append(todo, in.Next()...)
			}
		}
	}
}

// declared are the declarations of a variable that a step can mean.
func (c *checker) declared(id, variable string) []Variable {
	var all []Variable
	steps := c.within[id]
	if s := c.p.Workflow[id]; s != nil {
		steps = append([]*Step{s}, steps...)
	}
	for _, s := range steps {
		if v, ok := s.Variables[variable]; ok {
			all = append(all, v)
		}
	}
	if v, ok := c.p.Variables[variable]; ok {
		all = append(all, v)
	}
	return all
}

// Takes says whether a text is a value of a type of variables (section 10.18);
// a type that is not known takes any text.
func (v Variable) Takes(text string) bool {
	switch v.Type {
	case "bool":
		return text == "true" || text == "false"
	case "integer", "long":
		_, err := strconv.ParseInt(text, 10, 64)
		return err == nil
	case "float":
		_, err := strconv.ParseFloat(text, 64)
		return err == nil
	case "ipv4-addr", "ipv6-addr":
		return network(text, v.Type == "ipv4-addr")
	case "mac-addr":
		_, err := net.ParseMAC(text)
		return err == nil
	case "uuid":
		return uuidForm.MatchString(strings.ToLower(text))
	case "uri":
		u, err := url.Parse(text)
		return err == nil && u.IsAbs()
	case "hexstring":
		_, err := hex.DecodeString(text)
		return err == nil
	case "md5-hash", "sha256-hash", "sha1-hash", "sha224-hash", "sha384-hash", "sha512-hash":
		b, err := hex.DecodeString(text)
		return err == nil && len(b) > 0
	case "email-addr":
		_, err := mail.ParseAddress(text)
		return err == nil
	case "base64":
		_, err := base64.StdEncoding.DecodeString(text)
		return err == nil
	}
	return true
}

// network says whether a text is an address or a network in CIDR form.
func network(text string, four bool) bool {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Is4() == four
	}
	p, err := netip.ParsePrefix(text)
	return err == nil && p.Addr().Is4() == four
}
