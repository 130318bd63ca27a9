#!/bin/sh
# A desktop without a screen: a session bus in XDG_RUNTIME_DIR, an X server, a
# program that shows notifications (the bus starts dunst), and a hand that
# presses the first button of each. It says that it is ready by the file
# "ready", and ends with a signal.
set -eu
export DISPLAY=":${SONAE_TEST_DISPLAY:-97}"
Xvfb "$DISPLAY" -screen 0 800x600x16 -nolisten tcp & x=$!
dbus-daemon --session --nofork --nopidfile --address="unix:path=$XDG_RUNTIME_DIR/bus" & bus=$!
trap 'kill $bus $x 2>/dev/null; wait; exit 0' INT TERM
while [ ! -S "$XDG_RUNTIME_DIR/bus" ] || [ ! -S "/tmp/.X11-unix/X${DISPLAY#:}" ]; do sleep 0.1; done
until dunstctl count displayed >/dev/null 2>&1; do sleep 0.2; done
touch "$XDG_RUNTIME_DIR/ready"
while :; do
	sleep 2 # long enough to be seen first
	[ "$(dunstctl count displayed)" = 0 ] || dunstctl action 0
done
