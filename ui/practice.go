package ui

import (
	"context"
	"slices"

	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ui/view"
)

// practised is the register in the reader's language: the practice site and
// host have Japanese names and services, which the catalogue has in English
// too. What people registered is never touched.
type practised struct {
	Assets
	lang string
}

// register is what a page reads the register from.
func (s *server) register(lang string) Assets {
	if lang == i18n.Japanese {
		return s.Assets
	}
	return practised{s.Assets, lang}
}

func (a practised) site(s asset.Site) asset.Site {
	if s.Drill {
		s.Name, s.Contact = view.Practised(a.lang, s.Name), view.Practised(a.lang, s.Contact)
	}
	return s
}

func (a practised) host(h asset.Host) asset.Host {
	if !h.Drill {
		return h
	}
	h.Name, h.Services = view.Practised(a.lang, h.Name), slices.Clone(h.Services)
	for i, s := range h.Services {
		h.Services[i].Name = view.Practised(a.lang, s.Name)
		h.Services[i].Effect = view.Practised(a.lang, s.Effect)
		h.Services[i].Load = view.Practised(a.lang, s.Load)
	}
	return h
}

func (a practised) Sites(ctx context.Context) ([]asset.Site, error) {
	list, err := a.Assets.Sites(ctx)
	out := slices.Clone(list)
	for i, s := range out {
		out[i] = a.site(s)
	}
	return out, err
}

func (a practised) Site(ctx context.Context, id string) (asset.Site, error) {
	s, err := a.Assets.Site(ctx, id)
	return a.site(s), err
}

func (a practised) Hosts(ctx context.Context, f asset.Filter) ([]asset.Host, int, error) {
	list, total, err := a.Assets.Hosts(ctx, f)
	out := slices.Clone(list)
	for i, h := range out {
		out[i] = a.host(h)
	}
	return out, total, err
}

func (a practised) Host(ctx context.Context, id string) (asset.Host, error) {
	h, err := a.Assets.Host(ctx, id)
	return a.host(h), err
}
