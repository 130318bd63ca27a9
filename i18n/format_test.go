package i18n

import (
	"testing"
	"time"
)

func TestTimes(t *testing.T) {
	at := time.Date(2026, 11, 22, 5, 2, 9, 0, time.UTC)
	late := time.Date(2026, 12, 31, 15, 30, 0, 0, time.UTC) // already the next year in Japan
	for name, tt := range map[string]struct{ got, want string }{
		"ja":            {Time("ja", at), "11月22日(日) 14:02"},
		"en":            {Time("en", at), "Sun 22 Nov 14:02"},
		"seconds":       {TimeSeconds("ja", at), "11月22日(日) 14:02:09"},
		"date ja":       {Date("ja", late), "2027年1月1日(金)"},
		"date en":       {Date("en", late), "Fri 1 Jan 2027"},
		"none":          {Time("ja", time.Time{}), "—"},
		"clock":         {Clock(at), "14:02"},
		"now":           {Ago("ja", at, at.Add(20*time.Second)), "たった今"},
		"ago ja":        {Ago("ja", at, at.Add(3*time.Minute)), "3分前"},
		"ago en":        {Ago("en", at, at.Add(26*time.Hour+5*time.Minute)), "1 d 2 h ago"},
		"ahead ja":      {Ago("ja", at, at.Add(-134*time.Minute)), "あと2時間14分"},
		"ahead en":      {Ago("en", at, at.Add(-134*time.Minute)), "in 2 h 14 min"},
		"soon":          {Ago("ja", at, at.Add(-9*time.Second)), "あと9秒"},
		"span is cut":   {Span("ja", 59*time.Minute+59*time.Second), "59分"},
		"span hour":     {Span("en", time.Hour), "1 h"},
		"span zero":     {Span("ja", 0), "0秒"},
		"span negative": {Span("ja", -90*time.Second), "1分"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", name, tt.got, tt.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for name, tt := range map[string]struct{ got, want string }{
		"bytes":          {Bytes(999), "999 B"},
		"kilo":           {Bytes(1000), "1.0 kB"},
		"almost mega":    {Bytes(999_960), "1.0 MB"},
		"mega":           {Bytes(1_234_567), "1.2 MB"},
		"largest":        {Bytes(1<<63 - 1), "9223.4 PB"},
		"count":          {Count(1234567), "1,234,567"},
		"count small":    {Count(999), "999"},
		"count negative": {Count(-1000), "-1,000"},
		"percent":        {Percent(0.625), "63 %"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", name, tt.got, tt.want)
		}
	}
}

func TestOffsetsAndLimitsInWords(t *testing.T) {
	for d, want := range map[time.Duration][2]string{
		-1400 * time.Millisecond: {"1.4秒遅れ", "1.4 s slow"},
		2 * time.Minute:          {"2分進み", "2 min fast"},
		-99 * time.Millisecond:   {"0.1秒未満", "less than 0.1 s"},
		0:                        {"0.1秒未満", "less than 0.1 s"},
	} {
		if got := [2]string{Offset(Japanese, d), Offset(English, d)}; got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration][2]string{
		5 * time.Second: {"5秒", "5 s"}, 24 * time.Hour: {"24時間", "24 h"}, 90 * time.Minute: {"1時間30分", "1 h 30 min"}, 72 * time.Hour: {"3日", "3 d"},
	} {
		if got := [2]string{Length(Japanese, d), Length(English, d)}; got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	if got := Args(Japanese, []any{24 * time.Hour, "x", 3}); got["0"] != "24時間" || got["1"] != "x" || got["2"] != "3" {
		t.Errorf("arguments %v", got)
	}
}
