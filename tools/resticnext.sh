#!/bin/sh
# resticnext.sh: gets the restic of the next Debian release for the tests,
# bin/restic-next, when it is missing; the machine's own stays as it is. The
# source is derived from the machine's own sources of packages. Where that is
# not possible the tests use the machine's restic alone, and this says so.
set -eu

NEXT=trixie

cd "$(dirname "$0")/.."
out=$PWD/bin/restic-next
[ -x "$out" ] && exit 0
mkdir -p bin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

. /etc/os-release
uri=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
	sed -n -e 's/^URIs: *\(http[^ ]*debian\)\/* *$/\1/p' -e 's/^deb  *\(\[[^]]*\] *\)\{0,1\}\(http[^ ]*debian\)\/* .*/\2/p' | head -n 1)
[ -n "$uri" ] || { echo "tests use one version of restic: no Debian source in /etc/apt"; exit 0; }

mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $NEXT main" >"$work/sources.list"
apt() {
	apt-get -qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$work/lists" \
		-o Dir::Cache="$work/cache" -o APT::Sandbox::User=root "$@"
}
if apt update && (cd "$work" && apt download restic) && dpkg-deb -x "$work"/restic_*.deb "$work/x" && "$work/x/usr/bin/restic" version; then
	mv "$work/x/usr/bin/restic" "$out"
else
	echo "tests use one version of restic: that of $NEXT cannot be had or does not run on $PRETTY_NAME"
fi
