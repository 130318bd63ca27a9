#!/bin/sh
# Builds the programs of the guard for the kernel: agent/guard/bpf/obj/. The
# same source gives the same bytes (a test builds them twice).
set -eu
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-agent/guard/bpf/obj}")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd agent/guard/bpf
GOPACKAGE=bpf go tool -modfile=../../../tools/go.mod bpf2go -target amd64 -cc clang -output-dir "$tmp" -go-package bpf guard guard.bpf.c -- \
	-O2 -g -Wall -Werror -I"/usr/include/$(uname -m)-linux-gnu"
cd - >/dev/null
mkdir -p "$out"
mv "$tmp/guard_x86_bpfel.o" "$out/guard_amd64.o"
