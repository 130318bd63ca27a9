package ui

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/sonae/sonae/ui/view"
)

// assets serves script, style and fonts under an address that changes with
// their content, so that browsers may keep them for ever.
type assets struct {
	files   fs.FS
	prefix  string // "/assets/<digest>/"
	present view.Assets
}

// readAssets digests the built files below dir. Without a build there are
// none; the pages then come without style and script.
func readAssets(fsys fs.FS, dir string) (assets, error) {
	files, err := fs.Sub(fsys, dir)
	if err != nil {
		return assets{}, fmt.Errorf("built files: %w", err)
	}
	sum := sha256.New()
	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(files, name)
		fmt.Fprintf(sum, "%s %d\n", name, len(b))
		sum.Write(b)
		return err
	})
	if err != nil {
		return assets{}, fmt.Errorf("read built files: %w", err)
	}
	a := assets{files: files, prefix: "/assets/" + hex.EncodeToString(sum.Sum(nil))[:16] + "/"}
	for name, field := range map[string]*string{"app.js": &a.present.Script, "app.css": &a.present.Style, "fonts.css": &a.present.Fonts} {
		if _, err := fs.Stat(files, name); err == nil {
			*field = a.prefix + name
		}
	}
	return a, nil
}

// ServeHTTP serves one file. An address of another build is not answered: its
// page is older than the hub and must be loaded anew.
func (a assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, a.prefix)
	if !ok || !fs.ValidPath(name) || strings.HasPrefix(path.Base(name), ".") {
		http.NotFound(w, r)
		return
	}
	b, err := fs.ReadFile(a.files, name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	kind := mime.TypeByExtension(path.Ext(name))
	switch path.Ext(name) { // the table of the system may lack them
	case ".js":
		kind = "text/javascript; charset=utf-8"
	case ".css":
		kind = "text/css; charset=utf-8"
	case ".woff2":
		kind = "font/woff2"
	case ".txt":
		kind = "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(b) // nothing to do about a reader who left
}

// icon is the sign in the browser's tab: a shield of two strokes.
func icon(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Cache-Control", "public, max-age=86400")
	_, _ = w.Write([]byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path d="M16 2 4 7v9c0 7 5 12 12 14 7-2 12-7 12-14V7z" fill="#0017c1"/><path d="m10 16 5 5 8-10" fill="none" stroke="#fff" stroke-width="3"/></svg>`))
}
