// Package e2e tests the whole product as people use it: real hub and agents as
// processes, real BitTorrent clients in network namespaces, a real browser.
//
// In: the programs as built. Out: pass or fail. Always true: it runs only with
// the build tag e2e, needs root on Linux, and sends traffic only to hosts that
// it made itself. What is timed against what a person may expect runs first,
// alone; everything that mostly waits runs beside other tests, in networks and
// folders of its own (t.Parallel). See `make e2e`.
package e2e
