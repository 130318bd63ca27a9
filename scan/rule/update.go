package rule

import (
	"fmt"
	"os"

	"github.com/sonae/sonae/detect/pack"
)

// maxShown bounds how many rules of each kind of change are named.
const maxShown = 50

// update lets a pack take the place of the one in a folder.
func (c *call) update() int {
	switch {
	case c.back && len(c.paths) == 1:
		if err := pack.Back(c.paths[0]); err != nil {
			c.say(err.Error())
			return bad
		}
		fmt.Fprintln(c.out, c.t("update.back"))
		return good
	case c.back || len(c.paths) != 2:
		c.say(c.t("wrong.update"))
		return unusable
	}
	key, err := fileOr(c.key)
	if err != nil {
		c.say(err.Error())
		return unusable
	}
	u, err := pack.Prepare(c.paths[1], c.paths[0], c.sum, key)
	if err != nil {
		c.say(err.Error())
		c.say(c.t("update.refused"))
		return bad
	}
	c.changes(u)
	if c.dry {
		fmt.Fprintln(c.out, c.t("update.dry"))
		return good
	}
	if err := u.Apply(); err != nil {
		c.say(err.Error())
		return bad
	}
	fmt.Fprintln(c.out, c.t("update.done", "dir", c.paths[1], "n", fmt.Sprint(u.Rules)))
	return good
}

// changes shows what will be different.
func (c *call) changes(u *pack.Update) {
	if u.SHA256 != "" {
		fmt.Fprintf(c.out, "SHA-256 %s\n", u.SHA256)
	}
	if u.SignedBy != "" {
		fmt.Fprintln(c.out, c.t("update.signed", "name", u.SignedBy))
	} else {
		fmt.Fprintln(c.out, c.t("update.unsigned"))
	}
	for _, part := range []struct {
		key  string
		list []pack.Entry
	}{{"new", u.New}, {"changed", u.Changed}, {"removed", u.Removed}, {"rejected", u.Rejected}} {
		fmt.Fprintf(c.out, "%s %d\n", c.t("update."+part.key), len(part.list))
		for i, e := range part.list {
			if i == maxShown {
				fmt.Fprintf(c.out, "  … %d\n", len(part.list)-i)
				break
			}
			fmt.Fprintf(c.out, "  %s  %s  %s\n", e.ID, e.File, e.Title+e.Reason)
		}
	}
}

// pack makes a pack for others, or a key to sign packs with.
func (c *call) pack() int {
	if c.newKey != "" {
		return c.makeKey()
	}
	if len(c.paths) != 2 {
		c.say(c.t("wrong.pack"))
		return unusable
	}
	signer := ""
	if c.sign != "" {
		b, err := os.ReadFile(c.sign)
		if err != nil {
			c.say(err.Error())
			return unusable
		}
		signer = string(b)
	}
	blob, err := pack.Make(c.paths[0], signer)
	if err != nil {
		c.say(err.Error())
		return bad
	}
	if err := os.WriteFile(c.paths[1], blob, 0o644); err != nil {
		c.say(err.Error())
		return bad
	}
	return good
}

// makeKey writes NAME.key, for its owner only, and NAME.pub.
func (c *call) makeKey() int {
	if len(c.paths) > 0 {
		c.say(c.t("wrong.pack"))
		return unusable
	}
	signer, verifier, err := pack.NewKey(c.newKey)
	if err != nil {
		c.say(err.Error())
		return unusable
	}
	f, err := os.OpenFile(c.newKey+".key", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // never over another key
	if err == nil {
		_, err = fmt.Fprintln(f, signer)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}
	if err == nil {
		err = os.WriteFile(c.newKey+".pub", []byte(verifier+"\n"), 0o644)
	}
	if err != nil {
		c.say(err.Error())
		return bad
	}
	fmt.Fprintln(c.out, c.t("pack.key", "name", c.newKey, "key", verifier))
	return good
}
