package guard

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
)

// kind is a type of file that its first bytes tell.
type kind uint8

const kindNone kind = 0

// magic is one type: where which bytes stand, and the suffixes it goes by.
type magic struct {
	at       int
	bytes    string
	suffixes []string
}

// kinds lists the types; the index plus one is the kind. Sources: the types'
// own specifications, and DICOM PS3.10 for the medical one.
var kinds = [...]magic{
	{0, "%PDF-", []string{".pdf", ".ai"}},
	{0, "PK\x03\x04", []string{".zip", ".docx", ".xlsx", ".pptx", ".docm", ".xlsm", ".odt", ".ods", ".odp", ".jar", ".apk", ".epub", ".whl", ".kmz"}},
	{0, "PK\x05\x06", []string{".zip", ".jar"}},
	{0, "\xff\xd8\xff", []string{".jpg", ".jpeg", ".jpe", ".jfif"}},
	{0, "\x89PNG\r\n\x1a\n", []string{".png"}},
	{0, "GIF8", []string{".gif"}},
	{0, "BM", []string{".bmp", ".dib"}},
	{0, "II*\x00", []string{".tif", ".tiff", ".dng", ".nef", ".cr2", ".arw"}},
	{0, "MM\x00*", []string{".tif", ".tiff", ".dng", ".nef"}},
	{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", []string{".doc", ".xls", ".ppt", ".msi", ".msg", ".jtd"}},
	{0, "{\\rtf", []string{".rtf"}},
	{0, "\x1f\x8b\x08", []string{".gz", ".tgz", ".svgz", ".dmp", ".gzip"}},
	{0, "\x28\xb5\x2f\xfd", []string{".zst", ".tzst"}},
	{0, "\xfd7zXZ\x00", []string{".xz", ".txz"}},
	{0, "BZh", []string{".bz2", ".tbz2", ".tbz"}},
	{0, "\x04\x22\x4d\x18", []string{".lz4"}},
	{0, "7z\xbc\xaf\x27\x1c", []string{".7z"}},
	{0, "Rar!\x1a\x07", []string{".rar"}},
	{0, "SQLite format 3\x00", []string{".sqlite", ".sqlite3", ".db", ".db3"}},
	{0, "\x7fELF", []string{".so", ".o", ".ko", ".elf"}},
	{0, "MZ", []string{".exe", ".dll", ".sys", ".ocx", ".scr"}},
	{4, "ftyp", []string{".mp4", ".m4v", ".m4a", ".mov", ".heic", ".heif", ".avif", ".3gp"}},
	{0, "ID3", []string{".mp3"}},
	{0, "RIFF", []string{".wav", ".avi", ".webp"}},
	{0, "OggS", []string{".ogg", ".oga", ".ogv", ".opus"}},
	{0, "fLaC", []string{".flac"}},
	{0, "\x1a\x45\xdf\xa3", []string{".mkv", ".webm"}},
	{0, "DICM", nil}, // some equipment leaves the preamble out
	{128, "DICM", []string{".dcm", ".dicom"}},
	{0, "PGDMP", []string{".dump", ".pgdump", ".dmp", ".backup"}},
	{0, "PACK\x00\x00\x00", []string{".pack"}},
	{0, "-----BEGIN PGP", []string{".asc"}},
	{0, "age-encryption.org/", []string{".age"}},
}

// kindOf tells the type by the first bytes.
func kindOf(b []byte) kind {
	for i, m := range kinds {
		if len(b) >= m.at+len(m.bytes) && string(b[m.at:m.at+len(m.bytes)]) == m.bytes {
			return kind(i + 1)
		}
	}
	return kindNone
}

// named says whether a file of this kind may have that name.
func (k kind) named(name string) bool {
	return slices.Contains(kinds[k-1].suffixes, strings.ToLower(filepath.Ext(name)))
}

// readable are suffixes of files that hold text.
var readable = []string{".txt", ".csv", ".tsv", ".xml", ".json", ".html", ".htm", ".log", ".sql", ".md", ".ini", ".conf", ".cfg", ".yml", ".yaml", ".js",
	".css", ".c", ".h", ".cpp", ".go", ".py", ".java", ".sh", ".eml", ".hl7", ".ics", ".vcf", ".svg", ".tex"}

// promises says whether a name says that its file does not hold noise. What
// was added behind the old suffix, as in karte.docx.locked, does not count.
func promises(name string) bool {
	base := strings.ToLower(filepath.Base(name))
	for range 2 {
		ext := filepath.Ext(base)
		if ext == "" {
			return false
		}
		if slices.Contains(readable, ext) {
			return true
		}
		for _, m := range kinds {
			if slices.Contains(m.suffixes, ext) {
				return true
			}
		}
		base = strings.TrimSuffix(base, ext)
	}
	return false
}

// readableName says whether a name says that its file holds text and nothing
// else, so that one block of noise is enough.
func readableName(name string) bool {
	return slices.Contains(readable, strings.ToLower(filepath.Ext(name)))
}

// uncommon says whether to is from with a suffix added or exchanged that no
// known type goes by.
func uncommon(from, to string) (suffix string, ok bool) {
	ext := strings.ToLower(filepath.Ext(to))
	if ext == "" || ext == strings.ToLower(filepath.Ext(from)) || slices.Contains(readable, ext) || slices.Contains(passing, ext) {
		return "", false
	}
	for _, m := range kinds {
		if slices.Contains(m.suffixes, ext) {
			return "", false
		}
	}
	stem := strings.TrimSuffix(filepath.Base(from), filepath.Ext(from))
	return ext, strings.HasPrefix(filepath.Base(to), stem)
}

// passing are suffixes that programs give files for a while.
var passing = []string{".bak", ".old", ".orig", ".tmp", ".temp", ".new", ".part", ".swp", ".1", ".2", ".3", ".4", ".5", ".6", ".7", ".dpkg-new", ".dpkg-old", ".dpkg-tmp", ".rpmnew", ".rpmsave", ".lock"}

// text says whether b is a text, as a note to a person is.
func text(b []byte) bool {
	return len(b) > 0 && !bytes.ContainsRune(b, 0) && !random(bits(b), len(b))
}
