package api

import (
	"context"
	"net/http"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/auth"
)

// DeviceFields are what administrators say of a device.
type DeviceFields struct {
	Device  device.Device     `json:"device"`
	Secrets map[string]string `json:"secrets,omitempty" doc:"community, auth, priv or secret; one that is absent stays as it was; never shown"`
}

// DeviceAnswer is what a device said to a test.
type DeviceAnswer struct {
	Detail string `json:"detail"`
}

// LimitFields are what a site allows blocks to do.
type LimitFields struct {
	Protected    []action.Protected `json:"protected" nullable:"false" maxItems:"1000" doc:"never blocked: name servers, address assignment, medical devices"`
	Auto         bool               `json:"auto" doc:"block by itself what is certain; an approver only may switch it on"`
	Via          string             `json:"via,omitempty" maxLength:"100"`
	LeaseSeconds int                `json:"lease_seconds,omitempty" minimum:"0" maximum:"604800"`
}

type deviceList struct {
	Site string `query:"site" maxLength:"32"`
}

func (s *server) deviceOperations() {
	register(s, operation{"list-devices", http.MethodGet, "/devices", "Devices that can block, without their secrets", 0},
		one(auth.Administer, "host", func(_ context.Context, who auth.Person, in *deviceList) (auth.Resource, error) {
			return auth.Resource{Site: siteOr(in.Site, who)}, nil
		}),
		func(ctx context.Context, who auth.Person, in *deviceList) (*body[page[device.Device]], error) {
			list, err := s.Devices.List(ctx, siteOr(in.Site, who))
			return paged(list, len(list)), err
		})
	register(s, operation{"add-device", http.MethodPost, "/devices", "Add a device", http.StatusCreated},
		one(auth.Administer, "host", func(_ context.Context, _ auth.Person, in *body[DeviceFields]) (auth.Resource, error) {
			return auth.Resource{Site: in.Body.Device.Site}, nil
		}),
		func(ctx context.Context, who auth.Person, in *body[DeviceFields]) (*body[device.Device], error) {
			in.Body.Device.ID = ""
			if _, err := s.Assets.Site(ctx, in.Body.Device.Site); err != nil {
				return nil, err
			}
			d, err := s.Devices.Save(ctx, in.Body.Device, in.Body.Secrets, who)
			return &body[device.Device]{d}, err
		})
	register(s, operation{"save-device", http.MethodPut, "/devices/{id}", "Change a device", 0}, deviceRule[withBody[DeviceFields]](s),
		func(ctx context.Context, who auth.Person, in *withBody[DeviceFields]) (*body[device.Device], error) {
			in.Body.Device.ID = in.ID
			d, err := s.Devices.Save(ctx, in.Body.Device, in.Body.Secrets, who)
			return &body[device.Device]{d}, err
		})
	register(s, operation{"test-device", http.MethodPost, "/devices/{id}/test", "Ask a device whether it answers; nothing changes", 0}, deviceRule[ByID](s),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[DeviceAnswer], error) {
			detail, err := s.Devices.Test(ctx, in.ID)
			return &body[DeviceAnswer]{DeviceAnswer{detail}}, err
		})
	register(s, operation{"remove-device", http.MethodDelete, "/devices/{id}", "Remove a device that holds no block", 0}, deviceRule[ByID](s),
		func(ctx context.Context, who auth.Person, in *ByID) (*none, error) {
			return nil, s.Devices.Remove(ctx, in.ID, who)
		})
	s.limitOperations()
}

func (s *server) limitOperations() {
	register(s, operation{"get-block-limits", http.MethodGet, "/sites/{id}/blocks", "What a site allows blocks to do", 0}, atSite[ByID](auth.View),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[action.Limits], error) {
			l, err := s.Actions.Limits(ctx, in.ID)
			return &body[action.Limits]{l}, err
		})
	register(s, operation{"set-block-limits", http.MethodPut, "/sites/{id}/blocks", "Say what a site allows blocks to do", 0}, atSite[withBody[LimitFields]](auth.Administer),
		func(ctx context.Context, who auth.Person, in *withBody[LimitFields]) (*none, error) {
			if _, err := s.Assets.Site(ctx, in.ID); err != nil {
				return nil, err
			}
			return nil, s.Actions.SetLimits(ctx, action.Limits{Site: in.ID, Protected: in.Body.Protected, Auto: in.Body.Auto, Via: in.Body.Via,
				Lease: time.Duration(in.Body.LeaseSeconds) * time.Second}, who)
		})
}

// deviceRule is the right to a device that exists.
func deviceRule[I identified](s *server) rule[I] {
	return one(auth.Administer, "host", func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		d, err := s.Devices.Get(ctx, (*in).of())
		return auth.Resource{ID: d.ID, Site: d.Site}, err
	})
}

func atSite[I identified](v auth.Verb) rule[I] {
	return one(v, "site", func(_ context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		return auth.Resource{ID: (*in).of(), Site: (*in).of()}, nil
	})
}
