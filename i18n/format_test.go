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
