package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sonae/sonae/bus"
	"github.com/sonae/sonae/hub"
)

// deadCommand lists the messages inside the running hub that a stage could not
// use, or offers one again after the cause was mended.
func deadCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("sonae dead", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", hub.Default().Dir, "folder of the running hub")
	after := flags.Uint64("after", 0, "list those with higher numbers only")
	usage := func() int {
		fmt.Fprintln(stderr, "usage: sonae dead list [--dir DIR] [--after N] | sonae dead revive [--dir DIR] N")
		return 2
	}
	if len(args) == 0 {
		return usage()
	}
	if status, ok := parsed(flags, args[1:]); !ok {
		return status
	}
	var err error
	switch {
	case args[0] == "list" && flags.NArg() == 0:
		err = listDead(ctx, *dir, *after, stdout)
	case args[0] == "revive" && flags.NArg() == 1:
		_, err = askHub(ctx, *dir, http.MethodPost, "/dead/"+url.PathEscape(flags.Arg(0)))
	default:
		return usage()
	}
	if err != nil {
		fmt.Fprintf(stderr, "sonae dead %s: %v\n", args[0], err)
		return 1
	}
	return 0
}

// listDead prints one line for each: number, time, who could not use it, what
// it was about, why.
func listDead(ctx context.Context, dir string, after uint64, out io.Writer) error {
	body, err := askHub(ctx, dir, http.MethodGet, "/dead?after="+strconv.FormatUint(after, 10))
	if err != nil {
		return err
	}
	var letters []bus.Letter
	if err := json.Unmarshal(body, &letters); err != nil {
		return err
	}
	for _, l := range letters {
		fmt.Fprintf(out, "%d\t%s\t%s\t%s\t%d bytes\t%s\n", l.Seq, l.At.Format(time.RFC3339), l.Join, l.Subject, len(l.Body), l.Reason)
	}
	return nil
}
