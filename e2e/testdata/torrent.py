"""A BitTorrent client with libtorrent, as a test needs one.

torrent.py seed|get SOURCE DIR PORT [--utp-only] [--encrypted] [--dht ADDRESS:PORT] [--dht-only] [--limit BYTES]

SOURCE is a .torrent file or a magnet link, DIR where its content is or goes.
It runs until it is killed and says on standard output when it has all.
"""
import argparse
import sys
import time

import libtorrent as lt

p = argparse.ArgumentParser()
p.add_argument("role", choices=["seed", "get"])
p.add_argument("source")
p.add_argument("dir")
p.add_argument("port", type=int)
p.add_argument("--utp-only", action="store_true")
p.add_argument("--encrypted", action="store_true")
p.add_argument("--dht", default="")
p.add_argument("--dht-only", action="store_true")
p.add_argument("--limit", type=int, default=0)
a = p.parse_args()

settings = {
    "listen_interfaces": "0.0.0.0:%d" % a.port,
    "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "enable_dht": bool(a.dht) or a.dht_only,
    "dht_bootstrap_nodes": a.dht,
    "dht_restrict_routing_ips": False, "dht_restrict_search_ips": False, "dht_enforce_node_id": False,
    "allow_multiple_connections_per_ip": True,
    "enable_outgoing_tcp": not a.utp_only, "enable_incoming_tcp": not a.utp_only,
    "enable_outgoing_utp": a.utp_only, "enable_incoming_utp": a.utp_only or a.role == "seed",
    "upload_rate_limit": a.limit,
    "min_announce_interval": 5,
}
if a.utp_only:
    settings["mixed_mode_algorithm"] = 0
if a.encrypted:
    settings.update({"out_enc_policy": 0, "in_enc_policy": 0, "allowed_enc_level": 2})
session = lt.session(settings)
if a.source.startswith("magnet:"):
    add = lt.parse_magnet_uri(a.source)
else:
    add = lt.add_torrent_params()
    add.ti = lt.torrent_info(a.source)
add.save_path = a.dir
if a.role == "seed":
    add.flags |= lt.torrent_flags.seed_mode
if a.dht_only:
    add.trackers = []
handle = session.add_torrent(add)
host, _, port = a.dht.rpartition(":")
done = False
while True:
    if host:
        session.add_dht_node((host, int(port)))
    s = handle.status()
    if s.is_seeding and not done:
        done = True
        print("complete", flush=True)
    print("%s peers=%d progress=%.3f dht=%d" % (s.state, s.num_peers, s.progress, session.status().dht_nodes), file=sys.stderr, flush=True)
    time.sleep(1)
