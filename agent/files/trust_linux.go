package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/agent/guard"
)

// trust knows the programs whose files need no look: those of the system's
// packages that do not bring what others made, and those that the site allows.
// That a program's file is still what its package brought is not asked here:
// who can change it is the administrator, and the integrity watch sees it. Not
// for concurrent use.
type trust struct {
	allow map[string][]string // path → sums
	known map[program]bool
	owned func(path string) bool // by a package
}

// program is a program file that did not change since it was looked at.
type program struct {
	dev, ino     uint64
	mtime, ctime int64
}

const (
	maxPrograms = 4096
	packageTime = 10 * time.Second // for one question to the package database
	maxProgram  = 1 << 30          // bytes that are summed up
)

// bringers write what others made: they load it, unpack it, receive it, take it
// from a pipe, or do what a script says. Their package says nothing of it.
var bringers = regexp.MustCompile(`^(` + strings.Join([]string{
	`(ba|da|z|k|mk|a|c|tc|fi)?sh`, `busybox`, `perl`, `python`, `pypy`, `ruby`, `node(js)?`, `deno`, `bun`, `php(-fpm|-cgi)?`, `lua(jit)?`, `pwsh`, `tclsh`, `wish`, `[gm]?awk`, `java`, `mono`, `dotnet`, `wine(64|server|device)?`, `qemu-.*`,
	`firefox(-esr|-bin)?`, `chrom(e|ium)(-browser|-stable)?`, `google-chrome`, `msedge`, `opera`, `brave`, `vivaldi(-bin)?`, `epiphany(-browser)?`, `falkon`, `konqueror`, `WebKit.*`, `QtWebEngineProcess`, `electron`,
	`thunderbird(-bin)?`, `evolution`, `claws-mail`, `kmail`, `mutt`, `neomutt`, `fetchmail`, `getmail`, `procmail`, `maildrop`, `dovecot.*`, `deliver`, `lmtp`, `local`, `virtual`, `exim4?`,
	`curl`, `wget2?`, `aria2c`, `axel`, `scp`, `sftp(-server)?`, `sshd.*`, `rsync`, `rclone`, `l?ftp`, `tftpd?`, `nc(\.openbsd|\.traditional)?`, `ncat`, `socat`, `smbd`, `smbclient`, `vsftpd`, `(pro|pure-)ftpd`, `apache2`, `httpd`, `nginx`, `lighttpd`, `caddy`, `git`, `svn`, `hg`,
	`transmission.*`, `qbittorrent.*`, `deluged?`, `rtorrent`, `amuled?`,
	`bsdtar`, `tar`, `cpio`, `pax`, `gzip`, `pigz`, `bzip2`, `xz`, `zstd`, `lz4`, `unzip`, `funzip`, `7z.?`, `7zz`, `unrar(-nonfree)?`, `unar`, `lha`, `cabextract`, `file-roller`, `ark`, `engrampa`, `base64`, `uudecode`, `gpg`, `openssl`,
	`cat`, `tac`, `rev`, `tee`, `dd`, `pv`, `sponge`, `head`, `tail`, `sed`, `tr`, `cut`, `paste`, `fold`, `sort`, `uniq`, `[ef]?grep`, `c?split`, `xxd`, `od`, `iconv`, `base32`, `basenc`, `m4`, `envsubst`,
	`soffice\.bin`, `evince`, `telegram-desktop`, `slack`, `teams.*`, `zoom`, `discord`,
}, "|") + `)[0-9.]*$`)

func newTrust(allow []guard.Allowed) *trust {
	t := &trust{allow: map[string][]string{}, known: map[program]bool{}, owned: packaged}
	for _, a := range allow {
		t.allow[a.Path] = append(t.allow[a.Path], a.SHA256)
	}
	return t
}

// of says whether what pid writes needs no look. A process that ended already
// is trusted by nobody.
func (t *trust) of(pid int32) bool {
	link := "/proc/" + strconv.Itoa(int(pid)) + "/exe"
	image, err := os.Readlink(link)
	if err != nil {
		return false
	}
	var runs, there unix.Stat_t
	if unix.Stat(link, &runs) != nil || unix.Stat(image, &there) != nil {
		return false
	}
	if runs.Dev != there.Dev || runs.Ino != there.Ino { // of a container, or replaced meanwhile
		return false
	}
	p := program{runs.Dev, runs.Ino, runs.Mtim.Nano(), runs.Ctim.Nano()}
	if good, ok := t.known[p]; ok {
		return good
	}
	good := t.look(image, &runs)
	if len(t.known) >= maxPrograms {
		clear(t.known)
	}
	t.known[p] = good
	return good
}

func (t *trust) look(image string, st *unix.Stat_t) bool {
	if sums := t.allow[image]; len(sums) > 0 {
		sum, err := sumOf(image)
		for _, s := range sums {
			if err == nil && strings.EqualFold(s, sum) {
				return true
			}
		}
	}
	if st.Uid != 0 || st.Mode&0o022 != 0 { // others than the administrator may change it
		return false
	}
	return !bringers.MatchString(image[strings.LastIndexByte(image, '/')+1:]) && t.owned(image)
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if n, err := io.Copy(h, io.LimitReader(f, maxProgram)); err != nil || n == maxProgram {
		return "", errors.Join(err, io.ErrShortBuffer)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// packaged asks the package database, of Debian or of Red Hat, whether a file
// is a package's. Without one nothing is.
func packaged(path string) bool {
	if strings.ContainsAny(path, `*?[]\`) { // dpkg would take it for a pattern
		return false
	}
	ask := [][]string{{"/usr/bin/dpkg-query", "-S", path}}
	if short, ok := strings.CutPrefix(path, "/usr"); ok { // /bin became /usr/bin, and packages say either
		ask = append(ask, []string{"/usr/bin/dpkg-query", "-S", short})
	}
	ask = append(ask, []string{"/usr/bin/rpm", "-qf", path})
	for _, words := range ask {
		ctx, cancel := context.WithTimeout(context.Background(), packageTime)
		err := exec.CommandContext(ctx, words[0], words[1:]...).Run()
		cancel()
		if err == nil {
			return true
		}
	}
	return false
}
