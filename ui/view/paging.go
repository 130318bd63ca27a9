package view

import (
	"net/url"
	"strconv"
)

// Paging says which part of a long list a page shows.
type Paging struct {
	Path   string     // path of the list
	Query  url.Values // its filters, without offset
	Offset int
	Limit  int
	Total  int
}

// At returns the address of the part that begins at offset.
func (g Paging) At(offset int) string {
	q := url.Values{}
	for k, v := range g.Query {
		q[k] = v
	}
	q.Del("offset")
	if offset > 0 {
		q.Set("offset", strconv.Itoa(offset))
	}
	return join(g.Path, q)
}

// With returns the address of the list with one filter changed; an empty value
// removes it.
func (g Paging) With(name, value string) string {
	q := url.Values{}
	for k, v := range g.Query {
		q[k] = v
	}
	q.Del("offset")
	q.Del(name)
	if value != "" {
		q.Set(name, value)
	}
	return join(g.Path, q)
}

func join(path string, q url.Values) string {
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}
