#!/bin/sh
# guestkernel.sh: gets Debian's kernel for virtual machines for the tests of
# restore drills, bin/guest-kernel, when it is missing. It is unpacked, never
# installed: the machine's own boot stays as it is.
set -eu

cd "$(dirname "$0")/.."
out=$PWD/bin/guest-kernel
[ -f "$out/vmlinuz" ] && exit 0
mkdir -p bin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

image=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
[ -n "$image" ] || { echo "restore drills boot no kernel: apt knows no linux-image-cloud-amd64"; exit 0; }
if ! (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$image" && dpkg-deb -x linux-image-*.deb x); then
	echo "restore drills boot no kernel: $image cannot be had"
	exit 0
fi
mkdir -p "$work/out/modules"
cp "$work"/x/boot/vmlinuz-* "$work/out/vmlinuz"
# what a disk and a network card need
for m in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk failover net_failover virtio_net; do
	find "$work/x" -name "$m.ko" -exec cp {} "$work/out/modules/" \;
done
mv "$work/out" "$out"
