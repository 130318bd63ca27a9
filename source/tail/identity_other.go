//go:build !unix

package tail

import "os"

// identity tells files of one name apart.
func identity(i os.FileInfo) string { return i.ModTime().String() }
