//go:build !linux

package forensic

import (
	"context"
	"errors"

	"github.com/sonae/sonae/action/order"
)

// tasks has one task on this system: to say that there is none.
func (c *Collector) tasks(order.Order) []task {
	return []task{small("unsupported", "この機器では収集できません", "none", func(context.Context, int64) ([]byte, string, error) {
		return nil, "", errors.ErrUnsupported
	})}
}
