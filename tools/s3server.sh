#!/bin/sh
# s3server.sh: builds the S3 server that the tests start, bin/versitygw, when it
# is missing. Its version is pinned in tools/versitygw.
set -eu

cd "$(dirname "$0")/.."
out=$PWD/bin/versitygw
[ -x "$out" ] && exit 0
mkdir -p bin
cd tools/versitygw
CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags='-s -w' -o "$out.new" github.com/versity/versitygw/cmd/versitygw
mv "$out.new" "$out"
