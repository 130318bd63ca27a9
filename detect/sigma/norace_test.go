//go:build !race

package sigma

// every takes all of the telemetry.
const every = 1
