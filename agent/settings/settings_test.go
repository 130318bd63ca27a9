package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAFileThatOthersMayTouchIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.yml")
	if err := os.WriteFile(path, []byte("health:\n  services:\n    - {name: db, tcp: '127.0.0.1:5432'}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Load(path, true)
	if err != nil || len(s.Health.Services) != 1 || s.Health.Services[0].TCP != "127.0.0.1:5432" {
		t.Fatalf("got %+v, %v", s, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, true); err == nil || !strings.Contains(err.Error(), "600") {
		t.Errorf("readable by the group: %v", err)
	}
}

func TestAnUnknownWordIsAnErrorWithItsLine(t *testing.T) {
	_, err := Parse([]byte("health:\n  servces: []\n"))
	if err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v", err)
	}
	if _, err := Parse([]byte("health: {services: [{name: x}]}")); err == nil {
		t.Error("a service that is nothing was taken")
	}
}

func TestNoFileIsNoWord(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	if _, err := Load(none, false); err != nil {
		t.Error(err)
	}
	if _, err := Load(none, true); err == nil {
		t.Error("a file that was named and is not there")
	}
}
