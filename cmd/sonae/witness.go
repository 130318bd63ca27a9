package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"

	"github.com/sonae/sonae/ledger/witness"
)

// several is a flag that may be given several times.
type several []string

func (l *several) String() string { return strings.Join(*l, " ") }

// Set adds a value.
func (l *several) Set(s string) error {
	*l = append(*l, s)
	return nil
}

// witnessFlags adds the flags that name the hub's witnesses, and returns what
// reads them once they are parsed.
func witnessFlags(flags *flag.FlagSet) func() ([]witness.Peer, error) {
	var addresses, keys several
	flags.Var(&addresses, "witness", "address of a witness that cosigns the ledger; may be given several times, each with its --witness-key")
	flags.Var(&keys, "witness-key", "public key of the witness, or a file with it")
	return func() ([]witness.Peer, error) { return peers(addresses, keys) }
}

// peers joins the addresses of witnesses with their keys, in order.
func peers(addresses, keys []string) ([]witness.Peer, error) {
	if len(addresses) != len(keys) {
		return nil, fmt.Errorf("%d times --witness and %d times --witness-key: each witness needs its key", len(addresses), len(keys))
	}
	var all []witness.Peer
	for i, address := range addresses {
		p, err := witness.ParsePeer(address, readKey(keys[i]))
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func witnessCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("sonae witness", flag.ContinueOnError)
	flags.SetOutput(stderr)
	c := witness.Config{Log: slog.New(slog.NewTextHandler(stderr, nil))}
	var keys several
	flags.StringVar(&c.Dir, "dir", "witness", "folder for the witness's key and memory")
	flags.StringVar(&c.Name, "name", "sonae-witness", "name of the witness, which becomes a part of its key at the first start")
	flags.Var(&keys, "ledger-key", "public key of the ledger to watch, or a file with it; may be given several times")
	listen := flags.String("listen", ":8450", "address to be asked at (HTTP)")
	if status, ok := parsed(flags, args); !ok {
		return status
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "sonae witness: unexpected %q\n", flags.Arg(0))
		return 2
	}
	for _, k := range keys {
		c.Logs = append(c.Logs, readKey(k))
	}
	if err := stand(ctx, c, *listen, stdout); err != nil {
		complain(stderr, "witness", err)
		return 1
	}
	return 0
}

// stand witnesses until ctx ends, and says how a hub is told of it.
func stand(ctx context.Context, c witness.Config, listen string, stdout io.Writer) (err error) {
	w, err := witness.Open(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "witness-key: %s\nlistening: http://%s\n", w.Key(), l.Addr())
	return w.Serve(ctx, l)
}
