#!/bin/sh
# Makes data/torrent-callcentre.pcap and data/torrent-callcentre.json: what a
# call-centre PC sends and receives while a real BitTorrent client runs on it,
# and what its kernel says about that client.
#
# How: six network namespaces on one bridge, without any way out. A tracker
# (opentracker), three seeds, one other downloader and the PC, all of them
# transmission-daemon as Debian ships it, share one file of random bytes.
# tcpdump listens on the PC's own interface. All addresses are those reserved
# for documentation (RFC 5737).
#
# Needs: root on Debian with transmission-daemon, transmission-cli,
# opentracker, tcpdump, iproute2, jq. Leaves nothing behind but the two files.
#
#   sh make-capture.sh OUTPUT-FOLDER
set -eu

out=$(realpath "$1")
work=$(mktemp -d)
n=dr$$          # prefix of everything that is made
user=op07       # account that runs the client on the PC, removed afterwards
pids=""

cleanup() {
	for p in $pids; do kill "$p" 2>/dev/null || true; done
	for p in $pids; do wait "$p" 2>/dev/null || true; done
	for h in net pc trk s1 s2 s3 l2; do ip netns del "$n$h" 2>/dev/null || true; done
	[ -e "$work/made-user" ] && userdel -r "$user" 2>/dev/null || true
	rm -rf "$work"
}
trap cleanup EXIT INT TERM

# one bridge in a namespace of its own
ip netns add "${n}net"
ip -n "${n}net" link add name br0 type bridge
ip -n "${n}net" link set br0 up

host() { # name address
	ip netns add "$n$1"
	ip -n "${n}net" link add "v$1" type veth peer name eth0 netns "$n$1"
	ip -n "${n}net" link set "v$1" master br0 up
	ip -n "$n$1" link set lo up
	ip -n "$n$1" addr add "$2/32" dev eth0
	ip -n "$n$1" link set eth0 up
	ip -n "$n$1" route add default dev eth0 # every address is a neighbour
	ip netns exec "$n$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
	# no offload: packets in the capture are as long as on a real wire
	ip -n "$n$1" link set eth0 gso_max_segs 1 2>/dev/null || true
	ip netns exec "$n$1" ethtool -K eth0 tso off gso off gro off tx off 2>/dev/null || true
}
host pc 192.0.2.31
host trk 198.51.100.80
host s1 203.0.113.21
host s2 203.0.113.54
host s3 198.51.100.117
host l2 203.0.113.190

client() { # name folder upload-limit-kB/s utp
	mkdir -p "$2/config" "$2/watch" "$2/down"
	cat >"$2/config/settings.json" <<-JSON
		{"download-dir":"$2/down","watch-dir":"$2/watch","watch-dir-enabled":true,"rpc-enabled":false,
		 "encryption":0,"dht-enabled":true,"lpd-enabled":true,"pex-enabled":true,"utp-enabled":$4,"peer-port":51413,
		 "port-forwarding-enabled":false,"blocklist-enabled":false,"speed-limit-up":$3,"speed-limit-up-enabled":true,"umask":18}
	JSON
}

useradd --create-home --shell /usr/sbin/nologin "$user" && : >"$work/made-user"
home=/home/$user/.config/transmission
head -c 160000 /dev/urandom >"$work/archive.bin"
transmission-create -o "$work/t.torrent" -s 32 -t http://198.51.100.80:6969/announce "$work/archive.bin" >/dev/null

cd "$work"
chmod 711 "$work" && mkdir "$work/trk" # the tracker gives up root and must still reach its folder
ip netns exec "${n}trk" opentracker -i 198.51.100.80 -p 6969 -P 6969 -d "$work/trk" -u nobody >"$work/trk.log" 2>&1 &
pids="$pids $!"
for s in s1 s2 s3 l2; do
	client "$s" "$work/$s" 20 false
	[ "$s" = l2 ] || cp "$work/archive.bin" "$work/$s/down/"
done
for s in s1 s2 s3; do
	cp "$work/t.torrent" "$work/$s/watch/"
	ip netns exec "$n$s" transmission-daemon -f -g "$work/$s/config" >"$work/$s.log" 2>&1 &
	pids="$pids $!"
done
sleep 12 # until the seeds have checked the file and announced themselves

ip netns exec "${n}pc" tcpdump -i eth0 -n -U -s 0 -w "$work/capture.pcap" 'tcp or udp' 2>"$work/tcpdump.log" &
dump=$!
pids="$pids $dump"
client l2 "$work/l2" 20 false
cp "$work/t.torrent" "$work/l2/watch/"
ip netns exec "${n}l2" transmission-daemon -f -g "$work/l2/config" >"$work/l2.log" 2>&1 &
pids="$pids $!"

mkdir -p "$home"
client pc "$home" 60 false
mv "$home/config/settings.json" "$home/settings.json"
cp "$work/t.torrent" "$home/watch/"
chown -R "$user:" "/home/$user"
cd "$home"
ip netns exec "${n}pc" setpriv --reuid "$user" --regid "$user" --clear-groups env -i HOME="/home/$user" PATH=/usr/bin \
	/usr/bin/transmission-daemon --foreground --config-dir "$home" >"$home/daemon.log" 2>&1 &

pc=$!
pids="$pids $pc"
cd "$work"

i=0
until [ -e "$home/down/archive.bin" ] || [ $i -ge 120 ]; do sleep 0.5; i=$((i + 1)); done
sleep 2

# what the kernel knows about the client while it runs
boot=$(awk '/^btime/ {print $2}' /proc/stat)
tick=$(getconf CLK_TCK)
start=$(sed 's/.*) //' "/proc/$pc/stat" | cut -d' ' -f20)
jq -n --arg image "$(readlink "/proc/$pc/exe")" \
	--arg command "$(tr '\0' ' ' <"/proc/$pc/cmdline" | sed 's/ *$//')" \
	--arg cwd "$(readlink "/proc/$pc/cwd")" \
	--arg sha256 "$(sha256sum "/proc/$pc/exe" | cut -d' ' -f1)" \
	--arg user "$(stat -c %U "/proc/$pc")" \
	--arg status "$(cat "/proc/$pc/status")" \
	--arg maps "$(awk '{print $6}' "/proc/$pc/maps" | grep / | sort -u)" \
	--arg tcp "$(cat "/proc/$pc/net/tcp")" --arg udp "$(cat "/proc/$pc/net/udp")" \
	--arg files "$(find "/proc/$pc/fd" -mindepth 1 -printf '%f %l\n' 2>/dev/null | sort -n)" \
	--arg routes "$(ip -n "${n}pc" route)" \
	--argjson pid "$pc" --argjson started "$(awk "BEGIN {printf \"%.2f\", $boot + $start / $tick}")" \
	'{host: "192.0.2.31", $pid, $image, $sha256, $command, $cwd, $user, $started, $status,
	  libraries: ($maps | split("\n")), files: ($files | split("\n")), $tcp, $udp, $routes}' >"$work/facts.json"
kill "$pc"
wait "$pc" 2>/dev/null || true
sleep 1
kill "$dump"
wait "$dump" 2>/dev/null || true

cmp "$home/down/archive.bin" "$work/archive.bin" # else nothing was shared: try again
cp "$work/capture.pcap" "$out/torrent-callcentre.pcap"
cp "$work/facts.json" "$out/torrent-callcentre.json"
tcpdump -r "$out/torrent-callcentre.pcap" -n -q 2>/dev/null | wc -l
ls -l "$out"
