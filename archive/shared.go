package archive

import "context"

// follow takes over what other hubs wrote.
func (a *Archive) follow(context.Context) error { return nil }
