package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/text/encoding/japanese"

	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/state"
)

// TestHolidaysAreTakenOverFromTheCabinetOffice as an operator does it: check,
// update, the same again, and a file that is none.
func TestHolidaysAreTakenOverFromTheCabinetOffice(t *testing.T) {
	dir := t.TempDir()
	db, err := state.Open(t.Context(), filepath.Join(dir, "state.db"), hubtest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	rules, err := duty.LoadRules()
	if err != nil {
		t.Fatal(err)
	}
	text := "国民の祝日・休日月日,国民の祝日・休日名称\r\n"
	for _, h := range rules.Holidays.List() {
		if h.Day < "2029" {
			text += fmt.Sprintf("%s,%s\r\n", strings.ReplaceAll(h.Day, "-", "/"), h.Name)
		}
	}
	write := func(name, text string) string {
		sjis, err := japanese.ShiftJIS.NewEncoder().String(text)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(sjis), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file, page := write("syukujitsu.csv", text+"2028/12/25,休日\r\n"), write("page.csv", "<html>404</html>")
	for _, tt := range []struct {
		args []string
		code int
		said string
	}{
		{[]string{"holidays", "check", "--dir", dir, file}, 0, "+ 2028-12-25 休日\n違い / differences: 1\n"},
		{[]string{"holidays", "update", "--dir", dir, page}, 1, "columns"},
		{[]string{"holidays", "update", "--dir", dir, file}, 0, "+ 2028-12-25 休日\n"},
		{[]string{"holidays", "update", "--dir", dir, file}, 1, "same list"},
		{[]string{"holidays", "check", "--dir", dir, file}, 0, "differences: 0"},
		{[]string{"holidays", "update", "--dir", filepath.Join(dir, "none"), file}, 1, "no hub's folder"},
		{[]string{"holidays", "update", file}, 2, "usage"},
		{[]string{"holidays", "forget", "--dir", dir, file}, 2, "usage"},
	} {
		var out bytes.Buffer
		if code := dutyCommand(t.Context(), tt.args, &out, &out); code != tt.code || !strings.Contains(out.String(), tt.said) {
			t.Errorf("%v: exit %d, want %d and %q in\n%s", tt.args, code, tt.code, tt.said, &out)
		}
	}
}
