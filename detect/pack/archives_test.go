package pack

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/pack/box"
)

const oneRule = "title: T\nid: ID\nlogsource: {product: p}\ndetection:\n  s: {F: x}\n  condition: s\n"

func ruleOf(id string) []byte { return bytes.Replace([]byte(oneRule), []byte("ID"), []byte(id), 1) }

func TestArchivesInAFolderAreOneTree(t *testing.T) {
	var zipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	w, err := z.Create("win/a.yml")
	if err == nil {
		_, err = w.Write(ruleOf("zipped"))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	boxed, err := box.Encode(map[string][]byte{"b.yml": ruleOf("boxed"), "LICENSE.txt": []byte("free")})
	if err != nil {
		t.Fatal(err)
	}
	before, err := box.Encode(map[string][]byte{"b.yml": ruleOf("before")})
	if err != nil {
		t.Fatal(err)
	}
	all, damaged, err := Archives(fstest.MapFS{
		"vendor/all.zip": {Data: zipped.Bytes()}, Name: {Data: boxed}, Previous: {Data: before},
		"torn.zip": {Data: zipped.Bytes()[:40]}, "plain.yml": {Data: ruleOf("plain")},
	})
	if err != nil {
		t.Fatal(err)
	}
	engine, _, err := detect.Load(all)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range engine.Infos() {
		got = append(got, i.ID+" "+i.File)
	}
	if len(got) != 2 || got[0] != "boxed rules.pack!b.yml" || got[1] != "zipped vendor/all.zip!win/a.yml" {
		t.Errorf("got %v", got)
	}
	if len(damaged) != 1 || damaged[0].File != "torn.zip" {
		t.Errorf("damaged: %v", damaged)
	}
}

func TestNoFolderHoldsNoArchives(t *testing.T) {
	all, damaged, err := Archives(nowhere{})
	if err != nil || len(damaged) != 0 {
		t.Fatal(damaged, err)
	}
	if list, err := fs.ReadDir(all, "."); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
}

type nowhere struct{}

func (nowhere) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}
