package hub_test

import (
	"strings"
	"testing"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/bus"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/hub"
)

// A secret on the command line is seen by everybody on the machine.
func TestAddressesHoldNoSecret(t *testing.T) {
	for address, key := range map[string]string{
		"nats://192.0.2.1:4222": "", "tls://nats.example:4222": "",
		"nats://hub:geheim@192.0.2.1:4222": "config.nats", "nats://token-geheim@192.0.2.1": "config.nats", "192.0.2.1:4222": "config.nats", "nats://": "config.nats",
	} {
		cfg := hub.Default()
		cfg.State, cfg.Store, cfg.Bus = "postgres://db/sonae", &blob.S3{}, &bus.External{URLs: []string{"nats://192.0.2.2:4222", address}}
		err := cfg.Validate()
		if key == "" && err != nil || key != "" && (fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "geheim")) {
			t.Errorf("%s: got %v, want %q", address, err, key)
		}
	}
}
