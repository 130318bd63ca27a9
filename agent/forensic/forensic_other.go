//go:build !linux

package forensic

import (
	"context"
	"errors"

	"github.com/sonae/sonae/action/order"
)

// stages has one task on this system: to say that there is none.
func (c *Collector) stages(order.Order) []stage {
	return []stage{{1, func(context.Context) []task {
		return []task{absent("unsupported", "この機器では収集できません / Nothing can be collected on this machine", errors.ErrUnsupported.Error())}
	}}}
}
