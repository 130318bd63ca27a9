#!/bin/sh
# need.sh [--root] PACKAGE…: makes sure that Go, Node and the named Debian
# packages are there. As root on Debian or a relative of it, it installs those
# that are missing; otherwise it says exactly which are missing and how to get
# them, and fails. On other systems it looks for what the packages bring.
# --root: also says what will be skipped without root.
set -eu

GO_WANTED=1.26 NODE_WANTED=20

say() { echo "$*" >&2; }

# at_least HAVE WANTED: compares dotted numbers.
at_least() {
	[ "$(printf '%s\n%s\n' "$2" "$1" | sort -t. -k1,1n -k2,2n -k3,3n | head -n 1)" = "$2" ]
}

missing=
for tool in go node npm; do
	command -v "$tool" >/dev/null || missing="$missing $tool"
done
if [ -n "$missing" ]; then
	say "sonae needs Go $GO_WANTED or newer and Node $NODE_WANTED or newer with npm; not found in PATH:$missing"
	say "Go: https://go.dev/doc/install (usually /usr/local/go/bin). Node: https://nodejs.org"
	exit 1
fi
have=$(GOTOOLCHAIN=local go env GOVERSION | sed 's/^go//; s/[^0-9.].*//')
at_least "$have" "$GO_WANTED" || { say "sonae needs Go $GO_WANTED or newer; $(command -v go) is $have"; exit 1; }
have=$(node --version | sed 's/^v//')
at_least "$have" "$NODE_WANTED" || { say "sonae needs Node $NODE_WANTED or newer; $(command -v node) is $have"; exit 1; }

if [ "${1:-}" = --root ]; then
	shift
	[ "$(id -u)" = 0 ] || say "note: without root the tests that need network namespaces or packet capture are skipped"
fi

# brings PACKAGE: a file or program by which to know that it is there.
brings() {
	case $1 in
	libc6-dev) echo /usr/include/stdio.h ;;
	ca-certificates) echo /etc/ssl/certs ;;
	aria2) echo aria2c ;;
	libevtx-utils) echo evtxexport ;;
	iproute2) echo ip ;;
	nftables) echo nft ;;
	transmission-cli) echo transmission-create ;;
	fonts-noto-cjk) echo /usr/share/fonts ;;
	poppler-utils) echo pdftotext ;;
	openssh-server) echo sshd ;;
	openssh-client) echo ssh ;;
	apt-utils) echo apt-ftparchive ;;
	dpkg-dev) echo dpkg-scanpackages ;;
	procps) echo ps ;;
	snmp) echo snmpget ;;
	*) echo "$1" ;;
	esac
}

# there PACKAGE: is it installed?
there() {
	if command -v dpkg-query >/dev/null; then
		dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'install ok installed' || return 1
		case $1 in gcc | g++) ;; *) return 0 ;; esac # PATH must lead to them too
		command -v "$1" >/dev/null || say "the package $1 is installed, but PATH does not lead to it: $PATH"
		return 0
	fi
	what=$(brings "$1")
	case $what in
	/*) [ -e "$what" ] ;;
	*) PATH="$PATH:/usr/sbin:/sbin" command -v "$what" >/dev/null ;;
	esac
}

for package in "$@"; do
	there "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
	say "this system has no apt-get. What these Debian packages bring is missing here:$missing"
	say "install the packages of your system that bring the same, then run make again"
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	say "these packages are missing:$missing"
	say "install them with: sudo apt-get install --no-install-recommends$missing"
	exit 1
fi
say "installing$missing"
export DEBIAN_FRONTEND=noninteractive
# Services must not start by themselves on the machine that only tests them.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	trap 'rm -f "$policy"' EXIT
	trap 'exit 1' INT TERM
fi
log=$(mktemp)
# shellcheck disable=SC2086 # the list is meant to be split
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	say "the packages could not be installed; the whole log is $log"
	exit 1
fi
rm -f "$log"
