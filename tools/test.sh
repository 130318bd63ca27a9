#!/bin/sh
# test.sh ARGUMENT…: go test with these arguments. The tests start dozens of
# real programs, and on a busy machine one of them may come too late. So tests
# that fail are run once more by themselves, and are named at the end: a test
# that passes the second time only is a fault to mend, not one to stop for.
# go vet is left to `make lint`, which asks it for more than go test does.
set -u

log=$(mktemp) || exit 1
trap 'rm -f "$log" "$log.rc"' EXIT

# run ARGUMENT…: go test, its output shown and kept in $log.
run() {
	{ go test -vet=off "$@" 2>&1; echo $? >"$log.rc"; } | tee "$log"
	return "$(cat "$log.rc")"
}

run "$@" && exit 0

# The output of a package ends with its own line. One that failed without naming
# a test, or in a panic, is run whole. A data race is never luck.
again=$(awk '
	/^--- FAIL: /              { tests = tests " " $3; named = 1 }
	/^(panic|fatal error): /   { whole = 1 }
	/\[(build|setup) failed\]|WARNING: DATA RACE/ { final = 1 }
	/^(ok|FAIL|\?)[ \t]+[^ \t]/ {
		if ($1 == "FAIL") { packages = packages " " $2; if (!named) whole = 1 }
		named = 0
	}
	END { if (!final) print packages ";" (whole ? "" : tests) }
' "$log")
packages=${again%;*} tests=${again#*;}
[ -n "$packages" ] && [ "$(echo "$tests" | wc -w)" -le 8 ] || exit 1

# The flags stay, the packages are those that failed, one after the other.
flags=
while [ $# -gt 0 ]; do
	case $1 in
	-p | -parallel) shift ;;
	-race | -*=*) flags="$flags $1" ;;
	-*) flags="$flags $1 $2"; shift ;;
	esac
	shift
done
[ -z "$tests" ] || flags="$flags -run ^($(echo $tests | tr ' ' '|'))\$"

echo "== once more:$tests in$packages"
# No word of these holds a space.
# shellcheck disable=SC2086
run $flags -p 1 -parallel 1 -count 1 $packages || exit 1
echo "== passed the second time only, please look into it:$tests in$packages"
