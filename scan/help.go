package scan

import (
	"fmt"
	"io"
	"strings"
)

// Help prints the help of a command whose words stand in the catalogue under
// area.
func Help(w io.Writer, area, lang string, flags []Flag) {
	t := func(key string, pairs ...string) string {
		return words{lang: lang}.sentence(area+"."+key, pairs...)
	}
	fmt.Fprintln(w, t("help.usage", "kinds", strings.Join(Kinds(), ", ")))
	fmt.Fprintf(w, "\n%s\n\n%s\n", t("help.examples"), t("help.flags"))
	for _, f := range flags {
		left := "--" + f.Name
		if f.Arg != "" {
			left += " " + f.Arg
		}
		const column = 20
		for i, line := range wrap(t("flag."+f.Name, "values", strings.Join(f.Values, ", ")), minWidth-column-2) {
			if i > 0 {
				left = ""
			}
			if columns(left) > column-2 {
				fmt.Fprintln(w, "  "+left)
				left = ""
			}
			fmt.Fprintln(w, "  "+pad(left, column)+line)
		}
	}
	fmt.Fprintf(w, "\n%s\n", t("help.exit"))
}
