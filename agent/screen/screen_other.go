//go:build !linux && !windows

package screen

import (
	"context"
	"errors"

	"github.com/sonae/sonae/action/order"
)

// Config is empty here.
type Config struct{}

// Screen shows nothing on this system.
type Screen struct{}

// New returns a Screen.
func New(Config) *Screen { return &Screen{} }

// Show says that it cannot.
func (*Screen) Show(context.Context, order.Note, func(Sign)) error {
	return errors.New("screen: not on this system")
}
