package ground

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestOnlyAMarkedFolderIsOpened(t *testing.T) {
	dir := t.TempDir()
	token, err := Mark(dir)
	if err != nil {
		t.Fatal(err)
	}
	root, err := Open(dir, token)
	if err != nil {
		t.Fatalf("the marked folder: %v", err)
	}
	root.Close()
	linked := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, Marker), filepath.Join(linked, Marker)); err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string][2]string{
		"without a marker":        {t.TempDir(), token},
		"another token":           {dir, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
		"no token":                {dir, ""},
		"a marker from elsewhere": {linked, token},
		"the root of the machine": {"/", token},
	} {
		if root, err := Open(at[0], at[1]); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v %v", name, root, err)
		}
	}
}

func TestAFolderWithFilesIsNotMarked(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "letter.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Mark(dir); err == nil {
		t.Error("a folder that holds somebody's file was marked")
	}
}
