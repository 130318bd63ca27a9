#!/bin/sh
# Builds script, style and fonts into dist/, from which the hub embeds them.
# Needs Go and Node. Prints what it made.
set -eu
cd "$(dirname "$0")"
npm ci --ignore-scripts --no-audit --no-fund
find dist -mindepth 1 ! -name .keep -delete
go tool -modfile=../../tools/go.mod esbuild src/app.ts src/app.css src/fonts.css \
	--bundle --format=esm --minify --target=chrome109,firefox115,safari16 \
	--loader:.woff2=file --external:'*.woff' --asset-names=fonts/[name]-[hash] \
	--legal-comments=linked --charset=utf8 --outdir=dist --log-level=warning
# The stylesheet of the fonts also names .woff files for browsers older than our targets.
sed -i 's/,url([^)]*\.woff"*) *format("woff")//g' dist/fonts.css
cp node_modules/htmx.org/LICENSE dist/LICENSE-htmx.txt
cp node_modules/@fontsource/noto-sans-jp/LICENSE dist/LICENSE-noto-sans-jp.txt
ls -l dist/app.js dist/app.css dist/fonts.css
