package history_test

import (
	"os"
	"testing"

	"github.com/sonae/sonae/state/statetest"
)

func TestMain(m *testing.M) { os.Exit(statetest.Main(m)) }
