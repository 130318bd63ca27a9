#!/bin/sh
# need.sh PACKAGE…: installs the Debian packages that are missing when run as
# root on Debian; elsewhere it says exactly which are missing and fails. It
# also checks that Go and Node are there.
set -eu

for tool in go node npm; do
	command -v "$tool" >/dev/null || { echo "sonae needs $tool, which is not installed" >&2; exit 1; }
done

if ! command -v dpkg-query >/dev/null; then
	echo "this is not Debian; make sure that these are installed: $*" >&2
	exit 0
fi

missing=
for package in "$@"; do
	dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "these Debian packages are missing:$missing" >&2
	echo "install them with: sudo apt-get install --no-install-recommends$missing" >&2
	exit 1
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# Services must not start by themselves on the machine that only tests them.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	trap 'rm -f "$policy"' EXIT
fi
# shellcheck disable=SC2086 # the list is meant to be split
apt-get install -y -qq --no-install-recommends $missing >/dev/null
