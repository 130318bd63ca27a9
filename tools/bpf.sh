#!/bin/sh
# Builds the programs for the kernel, each into the folder obj beside its
# source, or all into the folder that is given. The same source gives the same
# bytes (a test builds them twice).
set -eu
cd "$(dirname "$0")/.."
out=${1:+$(realpath -m "$1")}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# build FOLDER NAME
build() {
	(cd "$1" && GOPACKAGE=bpf go tool -modfile=../../../tools/go.mod bpf2go -target amd64 -cc clang -output-dir "$tmp" -go-package bpf "$2" "$2.bpf.c" -- \
		-O2 -g -Wall -Werror -I"/usr/include/$(uname -m)-linux-gnu")
	mkdir -p "${out:-$1/obj}"
	mv "$tmp/$2_x86_bpfel.o" "${out:-$1/obj}/$2_amd64.o"
}

build agent/guard/bpf guard
build agent/collect/bpf telemetry
