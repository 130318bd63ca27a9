package cacao

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestCanonical holds the examples of RFC 8785, sections 3.2.2 to 3.2.4.
func TestCanonical(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"numbers and strings": {`{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}`,
			`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`},
		"order of names": {`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`,
			`{"\r":"Carriage Return","1":"One","` + "\u0080" + `":"Control","ö":"Latin Small Letter O With Diaeresis","€":"Euro Sign","😀":"Emoji: Grinning Face","` + "\ufb33" + `":"Hebrew Letter Dalet With Dagesh"}`},
		"white space": {" { \"b\" : [ ] , \"a\" : -0 } ", `{"a":0,"b":[]}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Canonical([]byte(tt.in))
			if err != nil || string(got) != tt.want {
				t.Errorf("got\n%s, want\n%s (%v)", got, tt.want, err)
			}
		})
	}
	for _, bad := range []string{`{"a":1,"a":2}`, "\"\xff\"", `1 2`, ``, `{"a":1e999}`, strings.Repeat("[", 1000)} {
		if got, err := Canonical([]byte(bad)); err == nil {
			t.Errorf("%.40q became %q", bad, got)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{`{"b":1,"a":[1.5e300,"x\u2028"]}`, `[]`, `"\ud800"`, `{"a":{"a":{}}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		once, err := Canonical(b)
		if err != nil {
			return
		}
		twice, err := Canonical(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q became %q and then %q (%v)", b, once, twice, err)
		}
	})
}

var day = time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)

func TestASignatureStandsForWhatWasSigned(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	source := []byte(`{"type":"playbook","id":"playbook--1","modified":"2026-11-01T00:00:00Z","name":"<P> & 手順","x_other":{"b":1.50,"a":[]}}`)
	s := Signature{ID: "jss--1", Signee: "Clinic", RelatedTo: "playbook--1", RelatedVersion: "2026-11-01T00:00:00Z", ValidUntil: "2027-01-01T00:00:00Z"}
	once, err := Sign(source, key, s)
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := Sign(once, other, s)
	if err != nil {
		t.Fatal(err)
	}
	verdicts := Verify(twice, day)
	if len(verdicts) != 2 || verdicts[0].Err != nil || verdicts[1].Err != nil || !key.Public().(ed25519.PublicKey).Equal(verdicts[0].Key) {
		t.Fatalf("verdicts %+v", verdicts)
	}
	var had, has map[string]any
	if err := errors.Join(json.Unmarshal(source, &had), json.Unmarshal(twice, &has)); err != nil {
		t.Fatal(err)
	}
	delete(has, "signatures")
	a, _ := json.Marshal(had)
	if b, _ := json.Marshal(has); !bytes.Equal(a, b) {
		t.Errorf("signing changed\n%s to\n%s", a, b)
	}
	for name, tt := range map[string]struct {
		text []byte
		at   time.Time
		want error
	}{
		"another order and other white space": {reordered(t, twice), day, nil},
		"a changed word":                      {bytes.Replace(twice, []byte("手順"), []byte("手品"), 1), day, ErrWrong},
		"another version":                     {bytes.Replace(twice, []byte(`"modified": "2026-11-01`), []byte(`"modified": "2026-11-02`), 1), day, ErrWrong},
		"its time is over":                    {twice, day.AddDate(1, 0, 0), ErrNotInForce},
		"an unknown hash":                     {bytes.ReplaceAll(twice, []byte("sha-256"), []byte("md5")), day, ErrUnknownWay},
		"no key":                              {bytes.ReplaceAll(twice, []byte("BEGIN PUBLIC"), []byte("BEGIN PRIVATE")), day, ErrNoKey},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range Verify(tt.text, tt.at) {
				if !errors.Is(v.Err, tt.want) {
					t.Errorf("verdict is %v, want %v", v.Err, tt.want)
				}
			}
		})
	}
	if v := Verify([]byte(`{"signatures":"none"}`), day); len(v) != 1 || v[0].Err == nil {
		t.Errorf("no list: %+v", v)
	}
}

func reordered(t *testing.T, text []byte) []byte {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
