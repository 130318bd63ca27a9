//go:build race

package sigma

// every thins out the telemetry: with race detection a rule set takes thirty
// times as long.
const every = 20
