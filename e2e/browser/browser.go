//go:build e2e

package browser

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience bounds every wait. It is long because test machines are busy; what
// is waited for takes milliseconds to a few seconds.
const patience = 60 * time.Second

// Desktop and Tablet are the widths at which pages are looked at, in pixels.
const (
	Desktop = 1280
	Tablet  = 820
	height  = 900
)

// Browser is one running Chromium. It ends with the test.
type Browser struct {
	ctx   context.Context
	axe   string
	shots string // folder for pictures; "" when nobody wants them
}

// Start starts a Chromium that trusts the certificate shown at address, an
// https URL, and no other that the system does not trust. axe is the path of
// axe.min.js; lang is the language of the browser itself: how it shows the
// fields for dates.
func Start(t testing.TB, address, axe, lang string) *Browser {
	t.Helper()
	script, err := os.ReadFile(axe)
	if err != nil {
		t.Fatalf("the accessibility checker is missing, run ui/web/build.sh: %v", err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("ignore-certificate-errors-spki-list", shownKey(t, address)),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("lang", lang), chromedp.Env("LANGUAGE="+lang), chromedp.WSURLReadTimeout(patience))
	alloc, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), opts...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(Desktop, height)); err != nil {
		t.Fatalf("open the browser: %v", err)
	}
	b := &Browser{ctx: ctx, axe: string(script), shots: os.Getenv("SONAE_SCREENSHOTS")}
	if b.shots != "" {
		if err := os.MkdirAll(b.shots, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// shownKey is the SHA-256 of the public key that answers at address, as
// Chromium takes it.
func shownKey(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	// Whatever answers is what the test started: its key is pinned, not verified.
	c, err := tls.Dial("tcp", u.Host, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatalf("look at the hub's certificate: %v", err)
	}
	defer c.Close()
	sum := sha256.Sum256(c.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Options are what makes a visitor different from others.
type Options struct {
	Base      string   // https URL of the hub, without a slash at the end
	Lang      string   // ja or en: what the browser asks for and the pages must be in
	Pictures  string   // begin of the names of saved pictures
	Own       []string // text of people that may stand on pages in another language
	NoScript  bool
	Downloads string // folder for files that the hub hands out
}

// Visitor is a person before a browser with cookies of its own.
type Visitor struct {
	Options
	t    testing.TB
	b    *Browser
	ctx  context.Context
	seen traffic
}

// Visitor opens a window that shares nothing with others.
func (b *Browser) Visitor(t testing.TB, o Options) *Visitor {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	v := &Visitor{Options: o, t: t, b: b, ctx: ctx, seen: traffic{base: o.Base}}
	v.must("open a window", chromedp.Listen(ctx, v.seen.note))
	v.must("watch the network", call(ctx, network.Enable, network.EnableParams{}))
	v.must("watch the log", call(ctx, log.Enable, cdp.Empty{}))
	v.must("watch the script", call(ctx, runtime.Enable, cdp.Empty{}))
	v.must("choose the language", call(ctx, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{
		UserAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130 Safari/537.36", AcceptLanguage: o.Lang}))
	if o.NoScript {
		v.must("switch script off", call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	}
	if o.Downloads != "" {
		_, err := chromedp.CallBrowser(ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
			Behavior: browser.SetDownloadBehaviorBehaviorAllow, DownloadPath: o.Downloads, BrowserContextID: chromedp.FromContext(ctx).BrowserContextID})
		v.must("choose the folder for downloads", err)
	}
	v.Width(Desktop)
	return v
}

func call[P, R any](ctx context.Context, cmd command[P, R], params P) error {
	_, err := chromedp.Call(ctx, cmd, params)
	return err
}

func (v *Visitor) must(what string, err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatalf("%s: %v", what, err)
	}
}

// Cookie gives the browser a cookie, as if the hub had set it.
func (v *Visitor) Cookie(name, value string) {
	v.t.Helper()
	yes := true
	v.must("set a cookie", call(v.ctx, network.SetCookie, network.SetCookieParams{Name: name, Value: value, URL: v.Base, Path: "/", Secure: &yes, HTTPOnly: &yes}))
}

// Width makes the window as wide as a screen, in pixels.
func (v *Visitor) Width(px int64) {
	v.t.Helper()
	v.do("change the size", chromedp.EmulateViewport(px, height))
}

func (v *Visitor) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	v.must(what, chromedp.Do(ctx, steps...))
}

// picture keeps a file for people to look at.
func (v *Visitor) picture(name string, content []byte) {
	v.t.Helper()
	if v.b.shots != "" {
		v.must("save a picture", os.WriteFile(filepath.Join(v.b.shots, strings.TrimPrefix(v.Pictures+"-"+name, "-")), content, 0o644))
	}
}
