package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/sonae/sonae/hub"
)

// drillCommand asks the running hub for a practice incident, through the
// socket in its folder that only its owner can open.
func drillCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("sonae drill run", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", hub.Default().Dir, "folder of the running hub")
	if len(args) == 0 || args[0] != "run" {
		fmt.Fprintln(stderr, "usage: sonae drill run [--dir DIR] NAME   (there is: torrent-callcentre)")
		return 2
	}
	if status, ok := parsed(flags, args[1:]); !ok {
		return status
	}
	if flags.NArg() != 1 {
		fmt.Fprintln(stderr, "sonae drill run: name one practice incident, after the flags (there is: torrent-callcentre)")
		return 2
	}
	if _, err := askHub(ctx, *dir, http.MethodPost, "/drill/"+url.PathEscape(flags.Arg(0))); err != nil {
		fmt.Fprintln(stderr, "sonae drill run:", err)
		return 1
	}
	fmt.Fprintln(stdout, "訓練を始めました。今の状況のページに、訓練の印のついた警報が数秒で現れます。")
	fmt.Fprintln(stdout, "The practice incident has started; an alert marked 訓練 (drill) appears on the Now page within seconds.")
	return 0
}
