package drill

import (
	"os"
	"testing"

	"github.com/sonae/sonae/state/statetest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	os.Exit(statetest.Main(m))
}
