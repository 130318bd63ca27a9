package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sonae/sonae/hub"
)

// askHub asks the hub that runs on dir, through the socket in its folder that
// only its owner can open, and returns what it answers. An answer that is no
// success is an error with its text.
func askHub(ctx context.Context, dir, method, path string) ([]byte, error) {
	socket, closed, err := hub.ControlSocket(dir)
	if err != nil {
		return nil, fmt.Errorf("no hub answers in %s; is `sonae serve` running? (%w)", dir, err)
	}
	defer func() { _ = closed() }() // opened for reading only
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}}}
	req, err := http.NewRequestWithContext(ctx, method, "http://hub"+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no hub answers in %s; is `sonae serve` running? (%w)", dir, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 300 {
		return nil, fmt.Errorf("%s", strings.TrimSpace(string(body)))
	}
	return body, nil
}
