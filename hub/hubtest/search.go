package hubtest

import (
	"bytes"
	"encoding/json"
	"net/url"

	"github.com/sonae/sonae/api"
	"github.com/sonae/sonae/event"
)

// Find asks the archive through the API and returns all events of the answer.
func (c *Client) Find(query string) (found []event.Event) {
	c.t.Helper()
	parts := c.Search(query)
	for _, p := range parts {
		found = append(found, p.Events...)
	}
	return found
}

// Search asks the archive through the API and returns the lines of the answer,
// which must be whole.
func (c *Client) Search(query string) (parts []api.SearchPart) {
	c.t.Helper()
	var body []byte
	c.Must("GET", "/search?limit=1000&q="+url.QueryEscape(query), nil, &body)
	for d := json.NewDecoder(bytes.NewReader(body)); d.More(); {
		var p api.SearchPart
		if err := d.Decode(&p); err != nil {
			c.t.Fatalf("search %s: %v", query, err)
		}
		parts = append(parts, p)
	}
	if len(parts) == 0 || !parts[len(parts)-1].Done {
		c.t.Fatalf("search %s: the answer is not whole: %d lines", query, len(parts))
	}
	return parts
}
