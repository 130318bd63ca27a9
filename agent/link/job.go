package link

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/sonae/sonae/protect/job"
)

// Job asks for a job that an order named, with what opens its repository.
func (c *Client) Job(ctx context.Context, id string) (job.Grant, error) {
	var g job.Grant
	if err := c.call(ctx, http.MethodGet, "/agent/v1/jobs/"+url.PathEscape(id), "application/json", nil, &g); err != nil {
		return job.Grant{}, fmt.Errorf("job %s: %w", id, err)
	}
	return g, nil
}

// RoundTrip sends a request to the hub, whatever host it names; only its path
// counts. It is what package net/http calls a RoundTripper.
func (c *Client) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = c.hub.Scheme, c.hub.Host
	r.Host = ""
	return c.http.Transport.RoundTrip(r)
}
