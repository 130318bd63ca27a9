// Package scan runs the rules over files, without a hub.
//
// In: paths (files, folders, packed files), a detect.Engine, filters. Out: a
// Result: findings and connections in the order of path and record, what could
// not be read and why, which log sources were met, and the same as text, JSON
// lines, CSV and one self-contained HTML page. Always true: the same files and
// rules give the same result whatever the number of cores; memory is bounded
// whatever the input, what does not fit is put away in a temporary file; a
// damaged file is named and never ends the run; nothing that was asked for is
// left out silently.
package scan
