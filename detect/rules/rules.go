// Package rules is Sonae's own rule pack.
//
// In: nothing. Out: FS, the rules as files for detect.Load. Always true: every
// rule that people see says in Japanese and English what happened, what it
// affects, what to do next and how to quiet it, and is tested with events that
// show it and with near misses; some rules only serve correlations.
package rules

import "embed"

// FS holds the rule files.
//
//go:embed *.yml
var FS embed.FS
