package hubtest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" // what telephones implement of RFC 6238
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sonae/sonae/auth"
)

// Password is what everybody in tests uses.
const Password = "橋の上 犬が三匹 雨あがり"

// Client is a person who is logged in at the API.
type Client struct {
	Person auth.Person
	Token  string

	t    testing.TB
	base string // URL of the hub
	http *http.Client
	code func() string
}

// Code is what the person's telephone shows now. One counts once, and those of
// the first minute were used to log in.
func (c *Client) Code() string { return c.code() }

// Problem is an answer that is no success.
type Problem struct {
	Status int
	Key    string   `json:"key"`
	Detail string   `json:"detail"`
	Errors []string `json:"errors"`
}

// Error says what was refused.
func (p *Problem) Error() string {
	return fmt.Sprintf("%d %s: %s %v", p.Status, p.Key, p.Detail, p.Errors)
}

// FirstAdmin follows the printed set-up link to its end, once, and returns the
// first administrator, who also responds.
func (h *Hub) FirstAdmin() *Client {
	h.t.Helper()
	if h.admin == nil {
		var token string
		h.Await("the set-up link", func() bool {
			_, after, found := strings.Cut(h.Printed(), h.Local+"/join/")
			token, _, _ = strings.Cut(after, "\n")
			return found && strings.Contains(after, "\n")
		})
		h.admin = h.join(token, "shimizu", "管理 担当")
	}
	return h.admin
}

// Admin makes a client known as the administrator whom Person and Enrol use,
// for a hub that is not at its first start.
func (h *Hub) Admin(c *Client) { h.admin = h.Again(c) }

// Again is a person of an earlier start of the same hub, with the session
// that the person had.
func (h *Hub) Again(c *Client) *Client {
	return &Client{Person: c.Person, Token: c.Token, t: h.t, base: h.URL, http: h.HTTP(), code: c.code}
}

// Person invites somebody, who accepts and logs in. site may be empty.
func (h *Hub) Person(login, site string, roles ...auth.Role) *Client {
	h.t.Helper()
	var invited struct {
		Token string `json:"token"`
	}
	h.FirstAdmin().Must("POST", "/people", map[string]any{"login": login, "name": login, "roles": roles, "site": site}, &invited)
	return h.join(invited.Token, login, login)
}

// join fills in the page behind a /join link and logs in, with a second factor
// where the page asks for one.
func (h *Hub) join(token, login, name string) *Client {
	h.t.Helper()
	step := h.cfg.Now().Unix() / stepSeconds
	page := h.page("GET", "/join/"+token, nil, http.StatusOK)
	_, after, _ := strings.Cut(page, `<code class="secret">`)
	shown, _, _ := strings.Cut(after, "</code>")
	secret := strings.Join(strings.Fields(html.UnescapeString(shown)), "")
	h.page("POST", "/join/"+token, url.Values{"login": {login}, "name": {name}, "password": {Password}, "password2": {Password},
		"code": {h.code(secret, step)}}, http.StatusSeeOther)
	c := &Client{t: h.t, base: h.URL, http: h.HTTP(), code: func() string { return h.code(secret, h.cfg.Now().Unix()/stepSeconds) }}
	var session struct {
		Token  string      `json:"token"`
		Person auth.Person `json:"person"`
	}
	// a code counts once, so this is the next one, which is taken a little early
	c.Must("POST", "/session", map[string]string{"login": login, "password": Password, "code": h.code(secret, step+1)}, &session)
	c.Token, c.Person = session.Token, session.Person
	return c
}

// page asks for a page as a browser without a session does.
func (h *Hub) page(method, path string, form url.Values, want int) string {
	h.t.Helper()
	req, err := http.NewRequest(method, h.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		h.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := h.HTTP().Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	if res.StatusCode != want {
		h.t.Fatalf("%s %s: got %s, want %d:\n%s", method, strings.SplitN(path, "/", 3)[1], res.Status, want, body)
	}
	return string(body)
}

// stepSeconds is how long a code of the second factor is valid (RFC 6238).
const stepSeconds = 30

// code is the second factor's code of a time step (RFC 4226, 6 digits).
func (h *Hub) code(secret string, step int64) string {
	h.t.Helper()
	if secret == "" {
		return ""
	}
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(secret, "="))
	if err != nil {
		h.t.Fatalf("second factor: %v", err)
	}
	mac := hmac.New(sha1.New, key)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(step)))
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0x0f
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:])&0x7fffffff%1000000)
}

// Raw is a body that is sent as it is.
type Raw []byte

// Do calls the API below /api/v1 with in as JSON (nil: no body; Raw: itself) and decodes
// the answer into out (nil: ignored; *[]byte: as it is). An answer that is no
// success is a *Problem.
func (c *Client) Do(method, path string, in, out any) error {
	c.t.Helper()
	res, err := c.send(method, "/api/v1"+path, in)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		p := &Problem{Status: res.StatusCode}
		_ = json.Unmarshal(body, p) // the status alone says enough
		return p
	}
	switch to := out.(type) {
	case nil:
		return nil
	case *[]byte:
		*to = body
		return nil
	}
	return json.Unmarshal(body, out)
}

func (c *Client) send(method, path string, in any) (*http.Response, error) {
	var body io.Reader
	kind := "application/json"
	switch in := in.(type) {
	case nil:
	case Raw:
		body, kind = bytes.NewReader(in), "application/octet-stream"
	default:
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", kind)
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	return c.http.Do(req)
}

// Must is Do for calls that must succeed.
func (c *Client) Must(method, path string, in, out any) {
	c.t.Helper()
	if err := c.Do(method, path, in, out); err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// Refused is Do for calls that must be refused with a status; it returns the
// key of the refusal.
func (c *Client) Refused(status int, method, path string, in any) string {
	c.t.Helper()
	err := c.Do(method, path, in, nil)
	p, ok := err.(*Problem)
	if !ok || p.Status != status {
		c.t.Fatalf("%s %s: got %v, want %d", method, path, err, status)
	}
	return p.Key
}

// Page asks for a page with the person's session in the cookie, as a browser
// does, and returns status and text.
func (c *Client) Page(path string) (int, string) {
	c.t.Helper()
	status, _, body := c.browse(http.MethodGet, path, "")
	return status, body
}

// Submit sends a form of a page as a browser does, and returns the status,
// where it leads, and the text.
func (c *Client) Submit(path string, form url.Values) (status int, to, body string) {
	c.t.Helper()
	return c.browse(http.MethodPost, path, form.Encode())
}

func (c *Client) browse(method, path, form string) (status int, to, text string) {
	c.t.Helper()
	req, err := http.NewRequest(method, c.base+path, strings.NewReader(form))
	if err != nil {
		c.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	req.AddCookie(&http.Cookie{Name: "__Host-sonae_session", Value: c.Token, Secure: true})
	res, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Location"), string(body)
}

// List returns the items of a list.
func List[T any](c *Client, path string) []T {
	c.t.Helper()
	var page struct {
		Items []T `json:"items"`
	}
	c.Must(http.MethodGet, path, nil, &page)
	return page.Items
}

// Get returns one thing.
func Get[T any](c *Client, path string) (out T) {
	c.t.Helper()
	c.Must(http.MethodGet, path, nil, &out)
	return out
}
