// Package rules is Sonae's own rule pack.
//
// In: nothing. Out: FS, the rules as files for detect.Load. Always true: every
// rule says in Japanese and English what happened, what it affects and what to
// do next, and has a golden test.
package rules

import "embed"

// FS holds the rule files.
//
//go:embed *.yml
var FS embed.FS
