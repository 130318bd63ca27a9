package auth

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/fault"
)

var (
	loginForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{1,63}$`)
	siteForm  = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
)

func checkLogin(login string) error {
	if !loginForm.MatchString(login) {
		return fault.New(fault.Invalid, "auth.login-form")
	}
	return nil
}

func checkName(name string) error {
	if n := utf8.RuneCountInString(name); n == 0 || n > 100 || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return fault.New(fault.Invalid, "auth.name-form")
	}
	return nil
}

func checkLang(lang string) error {
	if lang != "ja" && lang != "en" {
		return fault.New(fault.Invalid, "auth.lang-form")
	}
	return nil
}

// Roles returns all roles, for lists to choose from.
func Roles() []Role {
	return []Role{Administrator, Responder, Approver, Executive, Contractor, Auditor}
}

func checkRoles(list []Role, site string) error {
	if len(list) == 0 || len(list) > len(Roles()) || (site != "" && !siteForm.MatchString(site)) {
		return fault.New(fault.Invalid, "auth.roles-form")
	}
	for i, r := range list {
		if !slices.Contains(Roles(), r) || slices.Contains(list[:i], r) {
			return fault.New(fault.Invalid, "auth.roles-form")
		}
	}
	if site == "" && slices.Contains(list, Contractor) {
		return fault.New(fault.Invalid, "auth.contractor-site")
	}
	return nil
}

func joinRoles(list []Role) string {
	names := make([]string, len(list))
	for i, r := range list {
		names[i] = string(r)
	}
	return strings.Join(names, " ")
}

func flag01(b bool) int {
	if b {
		return 1
	}
	return 0
}

// wrap adds what was being done, and keeps nil.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// or returns err, or what it means when there is none.
func or(err error, f *fault.Error) error {
	if err != nil {
		return err
	}
	return f
}

// first returns the first fault of joined errors: a person repairs one thing
// at a time.
func first(err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	return err
}
