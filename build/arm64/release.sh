#!/usr/bin/env bash
# release.sh VERSION COMMIT ARCH… packs stripped, reproducible binaries into
# dist/: the same sources and toolchain give the same bytes, wherever and
# whenever they are built.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$1 commit=$2
shift 2

# The size budget of an arm64 binary, design: under 16 MB.
readonly budget=16000000
export CGO_ENABLED=0 GOFLAGS= GOOS=linux SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

build() { # ARCH OUTPUT
	local goarch=$1 goarm=
	[ "$1" = armv7 ] && goarch=arm goarm=7
	GOARCH=$goarch GOARM=$goarm go build -trimpath -buildvcs=false \
		-ldflags "-s -w -buildid= -X main.version=$version -X main.commit=$commit" \
		-o "$2" ./cmd/edgeagent
}

pack() { # ARCH
	local name=edgeagent-$version-linux-$1 size
	local dir=dist/$name
	mkdir -p "$dir"
	build "$1" "$dir/edgeagent"
	size=$(stat -c %s "$dir/edgeagent")
	printf '%-7s %9d bytes\n' "$1" "$size"
	if [ "$1" = arm64 ] && [ "$size" -gt "$budget" ]; then
		echo "arm64 binary is $size bytes, budget $budget: find what grew with 'go tool nm -size -sort size'" >&2
		exit 1
	fi
	cp -r config.toml runbook LICENSE CHANGELOG.md build/arm64/edgeagent.service build/arm64/INSTALL.md "$dir/"
	tar --sort=name --owner=0 --group=0 --numeric-owner --mode='u+rwX,go+rX,go-w' --mtime="@$SOURCE_DATE_EPOCH" \
		-C dist -cf - "$name" | gzip -n -9 >"dist/$name.tar.gz"
	rm -r "$dir"
}

rm -rf dist
mkdir -p dist
for arch in "$@"; do pack "$arch"; done
cd dist
sha256sum -- *.tar.gz >SHA256SUMS
cat SHA256SUMS
