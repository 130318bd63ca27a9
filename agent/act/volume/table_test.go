package volume

import (
	"reflect"
	"strings"
	"testing"
)

const table = `22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/root rw,errors=remount-ro
40 22 8:17 / /media/a\040stick rw,nosuid,nodev shared:9 master:1 - vfat /dev/sdb1 rw,uid=1000,utf8
41 22 0:45 / /mnt/chart rw,relatime - cifs //fs/\043chart rw,vers=3.1.1,username=nurse,addr=192.0.2.7
42 22 0:46 / /srv rw - tmpfs  rw
`

func TestMountsAreReadWithWhatTheirNamesEscape(t *testing.T) {
	got, err := parseMounts([]byte(table))
	if err != nil || len(got) != 4 {
		t.Fatalf("%+v %v", got, err)
	}
	want := mount{Device: "8:17", Root: "/", Target: "/media/a stick", Kind: "vfat", Source: "/dev/sdb1", Options: "rw,nosuid,nodev", Super: "rw,uid=1000,utf8"}
	if got[1] != want {
		t.Errorf("%+v", got[1])
	}
	if got[2].Source != "//fs/#chart" || got[3].Source != "" || got[3].Super != "rw" {
		t.Errorf("%+v", got[2:])
	}
	for name, bad := range map[string]string{"short": "22 1 8:1 / /\n", "relative": "22 1 8:1 / mnt rw - ext4 /dev/a rw\n", "empty line": "\n", "too many": strings.Repeat("1 1 0:1 / /x rw - tmpfs t rw\n", maxEntries+1)} {
		if _, err := parseMounts([]byte(bad)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestFstabSaysHowAVolumeComesBack(t *testing.T) {
	should := parseFstab([]byte("# comment\n\nUUID=1 /mnt/usb/ ext4 noauto\n//fs/chart /mnt/chart cifs credentials=/etc/cred,uid=0 0 0\n//fs/open /mnt/open cifs guest\n" +
		"//fs/asks /mnt/asks cifs user,noauto\nfs:/x /mnt/a\\040b nfs\n//fs/chart none cifs\n"))
	if len(should) != 5 || should[4].Target != "/mnt/a b" || should[0].Target != "/mnt/usb" {
		t.Fatalf("%+v", should)
	}
	for _, c := range []struct {
		x    mount
		want way
	}{
		{mount{Kind: "ext4", Source: "/dev/sdz1", Target: "/mnt/usb"}, byTable},
		{mount{Kind: "ext4", Source: "/dev/sdz1", Target: "/mnt/other"}, byOptions},
		{mount{Kind: "cifs", Source: "//fs/chart", Target: "/mnt/chart", Super: "username=nurse"}, byTable},
		{mount{Kind: "cifs", Source: "//fs/other", Target: "/mnt/chart", Super: "username=nurse"}, byPerson}, // fstab means another one
		{mount{Kind: "cifs", Source: "//fs/asks", Target: "/mnt/asks", Super: "username=nurse"}, byPerson},
		{mount{Kind: "cifs", Source: "//fs/open", Target: "/x", Super: "sec=none"}, byOptions},
		{mount{Kind: "nfs4", Source: "fs:/x", Target: "/y"}, byOptions},
		{mount{Kind: "fuse.sshfs", Source: "u@fs:/x", Target: "/y"}, byPerson},
	} {
		if got := newVolume(c.x, should).Back; got != c.want {
			t.Errorf("%+v comes back by %q, want %q", c.x, got, c.want)
		}
	}
}

func TestOptionsOfTheKernelAreThoseThatMountTakes(t *testing.T) {
	for _, c := range []struct {
		v    mount
		want string
	}{
		{mount{Kind: "vfat", Options: "rw,nosuid,noexec", Super: "rw,seclabel,uid=0"}, "rw,nosuid,noexec,uid=0"},
		{mount{Kind: "ext4", Options: "ro,nosuid", Super: "rw"}, "ro,nosuid"},
		{mount{Kind: "nfs4", Options: "rw", Super: "rw,vers=4.2,clientaddr=192.0.2.1,addr=192.0.2.7"}, "rw,vers=4.2"},
		{mount{Kind: "cifs", Options: "rw", Super: "rw,sec=none,addr=192.0.2.7"}, "rw,sec=none"},
		{mount{Kind: "cifs", Options: "rw", Super: "rw,vers=3.0"}, "rw,vers=3.0,guest"},
		{mount{Kind: "fuseblk", Options: "rw", Super: "rw,user_id=0,group_id=0,allow_other,blksize=4096"}, "rw"},
	} {
		if got := (volume{mount: c.v}).options(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.v, got, c.want)
		}
	}
}

func TestWhatTheMachineNeedsStays(t *testing.T) {
	disk := func(target string) mount {
		return mount{Device: "0:0", Kind: "ext4", Source: "/dev/x", Root: "/", Target: target}
	}
	share := func(target string) mount { return mount{Kind: "nfs4", Source: "fs:/x", Root: "/", Target: target} }
	m := &Means{Kept: []string{"/opt/sonae/state"}}
	for name, c := range map[string]struct {
		x    mount
		also []mount
		want string
	}{
		"root":               {x: disk("/"), want: needed},
		"boot":               {x: disk("/boot/efi"), want: needed},
		"a share under /var": {x: share("/var/www"), want: needed},
		"the agent's state":  {x: share("/opt/sonae"), want: needed},
		"an inner disk":      {x: disk("/srv"), want: fixed},
		"memory":             {x: mount{Kind: "tmpfs", Source: "tmpfs", Root: "/", Target: "/mnt"}, want: fixed},
		"with another in it": {x: share("/mnt"), also: []mount{share("/mnt/x")}, want: carries},
		"over another":       {x: share("/mnt"), also: []mount{disk("/mnt")}, want: carries},
		"a folder of a disk": {x: mount{Kind: "ext4", Source: "/dev/x", Root: "/a", Target: "/mnt/x"}, want: part},
		"a share":            {x: share("/srv/chart")},
		"beside the state":   {x: share("/opt/sonae/stat")},
		"a stick":            {x: disk("/run/media/nurse/stick")},
		"under an automount": {x: share("/mnt"), also: []mount{{Kind: automount, Target: "/mnt"}}},
	} {
		err := m.mayGo(c.x, append(c.also, c.x))
		if word, _, _ := strings.Cut(errText(err), ":"); word != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func FuzzParseMounts(f *testing.F) {
	f.Add([]byte(table))
	f.Add([]byte("1 1 0:1 / /\\1 rw - a b c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := parseMounts(b)
		if err != nil && all != nil || len(all) > maxEntries {
			t.Errorf("%d of a table that is refused: %v", len(all), err)
		}
		for _, x := range all {
			if !strings.HasPrefix(x.Target, "/") {
				t.Errorf("%q", x.Target)
			}
			_ = (volume{mount: x}).options()
		}
	})
}

func FuzzParseFstab(f *testing.F) {
	f.Add([]byte("UUID=1 /mnt\\040x ext4 a,b 0 0\n#x\n"), `a\040b`)
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		for _, e := range parseFstab(b) {
			if !strings.HasPrefix(e.Target, "/") || strings.HasPrefix(e.Source, "#") && b[0] == '#' && len(b) < 2 {
				t.Errorf("%+v", e)
			}
		}
		escaped := strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace(name)
		if got := unescape(escaped); !reflect.DeepEqual(got, name) {
			t.Errorf("%q became %q", name, got)
		}
	})
}
