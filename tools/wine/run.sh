#!/bin/sh
# Runs a Windows program under Wine, for `go test -exec`. The prefix is made at
# the first run, in $WINEPREFIX.
set -eu
export WINEDEBUG=-all
wine=$(command -v wine64 || echo /usr/lib/wine/wine64)
system="$WINEPREFIX/drive_c/windows/system32"
if [ ! -e "$system/bcryptprimitives.dll" ]; then
	"$wine" wineboot -i >/dev/null 2>&1
	clang --target=x86_64-pc-windows-msvc -mrdrnd -O1 -ffreestanding -nostdlib -shared -fuse-ld=lld -Wl,-noentry \
		-o "$system/bcryptprimitives.dll" "$(dirname "$0")/prng.c"
fi
exec "$wine" "$@"
