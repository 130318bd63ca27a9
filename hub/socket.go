package hub

import (
	"fmt"
	"os"
	"path/filepath"
)

// ControlSocket names the control socket of a hub's folder by a short path,
// because the name of a Unix socket must fit into 107 bytes and folders need
// not. The path is good until closed is called.
func ControlSocket(dir string) (path string, closed func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return "", nil, fmt.Errorf("control socket: %w", err)
	}
	return filepath.Join(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), "control.sock"), f.Close, nil
}
