package webhook_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/notify/notifytest"
	"github.com/sonae/sonae/notify/webhook"
)

var message = notify.Message{ID: "ms-1", At: time.Unix(1_700_000_000, 0).UTC(), Kind: "alert", Lang: "ja", Severity: event.Critical, Count: 1,
	Subject: "【Sonae 緊急】<b>*x*", Text: "1. a & b\n[link](https://evil.example)\n", Link: "https://hub.example/alerts/al-1", Items: []notify.Item{{Title: "x"}}}

// at finds a value in JSON by its path.
func at(t *testing.T, body []byte, path ...any) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	for _, p := range path {
		switch p := p.(type) {
		case string:
			v = v.(map[string]any)[p]
		case int:
			v = v.([]any)[p]
		}
	}
	return v
}

func TestEachKindGetsItsForm(t *testing.T) {
	for kind, tt := range map[notify.Kind]struct {
		to   string
		want map[string][]any // value → path
	}{
		notify.JSON:      {"", map[string][]any{"ms-1": {"id"}, "critical": {"severity"}, message.Link: {"link"}}},
		notify.Slack:     {"", map[string][]any{"【Sonae 緊急】&lt;b&gt;*x*\n1. a &amp; b\n[link](https://evil.example)\n": {"text"}}},
		notify.LineWorks: {"", map[string][]any{message.Subject: {"title"}, message.Text: {"body", "text"}, message.Link: {"button", "url"}}},
		notify.Teams: {"", map[string][]any{`【Sonae 緊急】<b>\*x\*`: {"attachments", 0, "content", "body", 0, "text"}, "application/vnd.microsoft.card.adaptive": {"attachments", 0, "contentType"},
			message.Link: {"attachments", 0, "content", "actions", 0, "url"}}},
		notify.Phone: {"+81-90-0000-0000", map[string][]any{"+81-90-0000-0000": {"to"}, "phone": {"kind"}, message.Subject: {"text"}}},
		notify.SMS:   {"0900-00-0000", map[string][]any{"0900-00-0000": {"to"}, message.Subject + " " + message.Link: {"text"}}},
	} {
		t.Run(string(kind), func(t *testing.T) {
			web := notifytest.StartWeb(t)
			to := tt.to
			if to == "" {
				to = web.URL
			}
			s := webhook.Sender{Now: func() time.Time { return message.At }}
			if err := s.Send(t.Context(), notify.Channel{Kind: kind, CA: web.CA}, notify.Secrets{URL: web.URL, Key: "k"}, to, message); err != nil {
				t.Fatal(err)
			}
			posts := web.Posts()
			if len(posts) != 1 {
				t.Fatalf("%d posts", len(posts))
			}
			for want, path := range tt.want {
				if got := at(t, posts[0].Body, path...); got != want {
					t.Errorf("%v is %q, want %q", path, got, want)
				}
			}
			h := posts[0].Header
			if h.Get("X-Sonae-Id") != "ms-1" || h.Get("X-Sonae-Timestamp") != "1700000000" || h.Get("X-Sonae-Signature") != "sha256="+webhook.Sign("k", "1700000000", posts[0].Body) {
				t.Errorf("header %v", h)
			}
		})
	}
}

func TestFailuresDoNotTellTheAddress(t *testing.T) {
	web := notifytest.StartWeb(t)
	_, other := notifytest.Certificate(t)
	send := func(address, ca string) error {
		s := webhook.Sender{Now: time.Now}
		return s.Send(t.Context(), notify.Channel{Kind: notify.Slack, CA: ca}, notify.Secrets{}, address, message)
	}
	web.Answer(http.StatusFound)
	for name, err := range map[string]error{
		"other authority": send(web.URL+"/token-of-the-room", other),
		"nobody there":    send("https://127.0.0.1:1/token-of-the-room", web.CA),
		"redirect":        send(web.URL+"/token-of-the-room", web.CA),
		"no address":      send("https://127.0.0.1:1/token-of-the-room\x7f", web.CA),
	} {
		if err == nil || strings.Contains(err.Error(), "token-of") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(web.Posts()) != 0 {
		t.Errorf("%d posts were taken", len(web.Posts()))
	}
}
