package ui

import (
	"encoding/base64"
	"net/url"

	"github.com/skip2/go-qrcode"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ui/view"
)

func (c *call) loginPage() (screen, error) {
	next := c.query("next")
	if c.err != nil {
		next = c.form("next")
	}
	p := c.page("", c.t("login.title"))
	p.Viewer = auth.Person{} // the door looks the same to everybody
	if c.err == nil {
		p.Form = func(field string) string { // a new colleague comes from the page before
			if field == "login" {
				return c.query("login")
			}
			return ""
		}
	}
	return screen{page: p, body: view.Login(p, localPath(next))}, nil
}

func (c *call) logIn() (string, error) {
	s, err := c.People.LogIn(c.ctx(), auth.Credentials{
		Login: c.form("login"), Password: c.r.PostForm.Get("password"), Code: c.form("code"), Address: address(c.r),
	})
	c.r.PostForm.Del("password") // never written into a page again
	c.r.PostForm.Del("code")
	if err != nil {
		if fault.Of(err) == fault.Denied { // shown beside the form, not as a refused page
			return "", fault.New(fault.Invalid, "ui.login-refused").With(err)
		}
		return "", err
	}
	c.keep(s.Token)
	return localPath(c.form("next")), nil
}

func (c *call) logOut() (string, error) {
	if k, err := c.r.Cookie(sessionCookie(c.r)); err == nil {
		if err := c.People.LogOut(c.ctx(), k.Value); err != nil && fault.Of(err) == "" {
			return "", err
		}
	}
	c.forget()
	return "/login", nil
}

func (c *call) joinPage() (screen, error) {
	token := c.r.PathValue("token")
	inv, err := c.People.Invitation(c.ctx(), token)
	if err != nil {
		return screen{}, err
	}
	title := c.t("join.title")
	if inv.First {
		title = c.t("join.first")
	}
	p := c.page("", title)
	p.Viewer = auth.Person{}
	d := view.JoinData{Token: token, Invitation: inv}
	if inv.TOTPURL != "" {
		// Without the picture the secret can still be typed.
		if png, err := qrcode.Encode(inv.TOTPURL, qrcode.Medium, 192); err == nil {
			d.QR = "data:image/png;base64," + base64.StdEncoding.EncodeToString(png)
		}
	}
	return screen{page: p, body: view.Join(p, d)}, nil
}

func (c *call) join() (string, error) {
	password, again := c.r.PostForm.Get("password"), c.r.PostForm.Get("password2")
	code := c.form("code")
	for _, f := range []string{"password", "password2", "code"} { // never written into a page again
		c.r.PostForm.Del(f)
	}
	if password != again {
		return "", fault.New(fault.Invalid, "ui.password-differs")
	}
	who, err := c.People.Accept(c.ctx(), c.r.PathValue("token"), auth.Acceptance{
		Login: c.form("login"), Name: c.form("name"), Password: password, Code: code, Lang: c.lang,
	})
	if err != nil {
		return "", err
	}
	return "/login?" + url.Values{"done": {"joined"}, "login": {who.Login}}.Encode(), nil
}
