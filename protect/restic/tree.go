package restic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// Node is one entry of a tree: what restic knew of a file or folder.
type Node struct {
	Name     string      // as the machine had it, which need not be UTF-8
	Type     string      `json:"type"` // file, dir, symlink, dev, chardev, fifo, socket, irregular
	Mode     fs.FileMode `json:"mode"`
	ModTime  time.Time   `json:"mtime"`
	Changed  time.Time   `json:"ctime"`
	UID      uint32      `json:"uid"`
	GID      uint32      `json:"gid"`
	User     string      `json:"user"`
	Group    string      `json:"group"`
	Inode    uint64      `json:"inode"`
	DeviceID uint64      `json:"device_id"`
	Size     uint64      `json:"size"`
	Links    uint64      `json:"links"`
	Target   string      // of a symbolic link
	Content  []ID        `json:"content"` // data blobs of a file, in order
	Subtree  *ID         `json:"subtree"` // of a dir
}

// parseTree reads the JSON of a tree entry by entry.
func parseTree(raw []byte, each func(*Node) error) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	nodes := false
	err := object(d, func(name string) error {
		if name != "nodes" {
			return skip(d)
		}
		nodes = true
		return array(d, func() error {
			n, err := parseNode(d)
			if err != nil {
				return err
			}
			return each(n)
		})
	})
	if err == nil && !nodes {
		err = errors.New("it has no nodes")
	}
	if err != nil {
		return err
	}
	if rest := raw[d.InputOffset():]; len(bytes.TrimSpace(rest)) > 0 {
		return errors.New("something follows the document")
	}
	return nil
}

func parseNode(d *json.Decoder) (*Node, error) {
	var n struct {
		Node
		Quoted    string `json:"name"` // a Go string literal without its quotes
		Target    string `json:"linktarget"`
		TargetRaw []byte `json:"linktarget_raw"` // where linktarget is no UTF-8
	}
	if err := d.Decode(&n); err != nil {
		return nil, err
	}
	name, err := strconv.Unquote(`"` + n.Quoted + `"`)
	if err != nil {
		return nil, fmt.Errorf("name %.80q: %w", n.Quoted, err)
	}
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") { // it would leave its folder when restored
		return nil, fmt.Errorf("name %.80q cannot be one", name)
	}
	n.Node.Name, n.Node.Target = name, n.Target
	if n.TargetRaw != nil {
		n.Node.Target = string(n.TargetRaw)
	}
	if n.Type == "dir" && n.Subtree == nil {
		return nil, fmt.Errorf("folder %.80q without its tree", name)
	}
	if n.Type != "dir" && n.Subtree != nil {
		return nil, fmt.Errorf("%.80q has a tree but is no folder", name)
	}
	return &n.Node, nil
}

// maxDepth bounds how deep folders may lie in each other; paths that a machine
// can name at once have at most 2,048 folders.
const maxDepth = 10_000

// SkipDir from the function of Walk leaves a folder out.
var SkipDir = fs.SkipDir

// Walk calls each for every entry below a snapshot's tree, in the order of the
// trees, a folder before what is in it; at is its path with "/".
func (r *Repository) Walk(ctx context.Context, tree ID, each func(at string, n *Node) error) error {
	return r.walk(ctx, tree, "/", 0, each)
}

func (r *Repository) walk(ctx context.Context, tree ID, dir string, depth int, each func(string, *Node) error) error {
	if depth > maxDepth {
		return fmt.Errorf("tree %s: folders lie more than %d deep", tree, maxDepth)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	raw, err := r.Blob(ctx, TreeBlob, tree, nil)
	if err != nil {
		return err
	}
	err = parseTree(raw, func(n *Node) error {
		at := path.Join(dir, n.Name)
		err := each(at, n)
		if errors.Is(err, SkipDir) && n.Subtree != nil {
			return nil
		}
		if err != nil || n.Subtree == nil {
			return err
		}
		return r.walk(ctx, *n.Subtree, at, depth+1, each)
	})
	if err != nil {
		return fmt.Errorf("tree %s: %w", tree, err)
	}
	return nil
}
