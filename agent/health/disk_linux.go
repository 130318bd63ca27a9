package health

import (
	"bufio"
	"bytes"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// notVolumes are file systems that are full by nature, or none at all; network
// file systems can hang whoever asks.
var notVolumes = map[string]bool{"squashfs": true, "iso9660": true, "devtmpfs": true, "proc": true, "sysfs": true, "cgroup2": true, "devpts": true,
	"nfs": true, "nfs4": true, "cifs": true, "smb3": true, "autofs": true, "fuse.sshfs": true, "9p": true}

// mounted asks the volumes, each device once. What is in memory only, such as
// /run, counts too: it can be full.
func mounted() []volume {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil
	}
	var out []volume
	seen := map[string]bool{}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 3 || notVolumes[f[2]] || f[2] == "overlay" && f[1] != "/" || seen[f[0]] && strings.HasPrefix(f[0], "/") {
			continue
		}
		v, ok := ask(strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`).Replace(f[1]))
		if ok {
			seen[f[0]] = true
			out = append(out, v)
		}
	}
	return out
}

func ask(path string) (volume, bool) {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil || st.Blocks == 0 {
		return volume{}, false
	}
	used := st.Blocks - min(st.Bfree, st.Blocks)
	v := volume{path: path, used: float64(used) * float64(st.Bsize), size: float64(used+st.Bavail) * float64(st.Bsize),
		inodes: float64(st.Files - min(st.Ffree, st.Files)), inodeAll: float64(st.Files)}
	return v, v.size > 0
}
