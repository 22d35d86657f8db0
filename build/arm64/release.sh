#!/usr/bin/env bash
# release.sh VERSION COMMIT ARCH… packs stripped, reproducible binaries into
# dist/: the same sources and toolchain give the same bytes, wherever and
# whenever they are built.
# release.sh --size VERSION COMMIT builds for arm64 alone, into bin/, and holds
# that to the budget, before somebody who wants to release is the first to know.
set -euo pipefail
cd "$(dirname "$0")/../.."
only_size=
[ "$1" = --size ] && only_size=1 && shift
version=$1 commit=$2
shift 2

# The size budget of an arm64 binary, design: under 16 MB.
readonly budget=16000000
export CGO_ENABLED=0 GOFLAGS= GOOS=linux SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

build() { # ARCH OUTPUT [FLAGS OF THE LINKER]
	local goarch=$1 goarm=
	[ "$1" = armv7 ] && goarch=arm goarm=7
	GOARCH=$goarch GOARM=$goarm go build -trimpath -buildvcs=false \
		-ldflags "-s -w -buildid= -X main.version=$version -X main.commit=$commit ${3-}" \
		-o "$2" ./cmd/edgeagent
}

fits() { # ARCH FILE
	local size
	size=$(stat -c %s "$2")
	printf '%-7s %9d bytes\n' "$1" "$size"
	[ "$1" != arm64 ] || [ "$size" -le "$budget" ] || {
		echo "arm64 binary is $size bytes, budget $budget: find what grew with 'go tool nm -size -sort size'" >&2
		exit 1
	}
}

# Whoever calls a method by a name of the run time, as text/template does, makes
# the linker keep every method of every type: 2 MB (docs/adr/0002-libraries.md).
prunes() {
	local who
	who=$(build arm64 /dev/null -dumpdep 2>&1 | grep -a -m 1 '<ReflectMethod>' || true)
	[ -z "$who" ] || {
		echo "the linker keeps all methods, about 2 MB, for this call of a method by its name; do without: $who" >&2
		exit 1
	}
}

# What llm/ and its libraries add to a program that has the rest's needs.
readonly llm_budget=1500000
weighs() {
	local tags size=()
	for tags in none weigh_llm; do
		GOARCH=arm64 go build -trimpath -buildvcs=false -tags "$tags" -ldflags "-s -w -buildid=" -o bin/weigh ./build/arm64/weigh
		size+=("$(stat -c %s bin/weigh)")
	done
	rm bin/weigh
	printf 'llm/    %9d bytes\n' $((size[1] - size[0]))
	[ $((size[1] - size[0])) -le $llm_budget ] || {
		echo "llm/ adds more than its budget of $llm_budget bytes: see what grew as above, or which library came in" >&2
		exit 1
	}
}

pack() { # ARCH
	local name=edgeagent-$version-linux-$1
	local dir=dist/$name
	mkdir -p "$dir"
	build "$1" "$dir/edgeagent"
	fits "$1" "$dir/edgeagent"
	cp -r config.toml runbook LICENSE CHANGELOG.md build/arm64/edgeagent.service build/arm64/INSTALL.md "$dir/"
	tar --sort=name --owner=0 --group=0 --numeric-owner --mode='u+rwX,go+rX,go-w' --mtime="@$SOURCE_DATE_EPOCH" \
		-C dist -cf - "$name" | gzip -n -9 >"dist/$name.tar.gz"
	rm -r "$dir"
}

if [ -n "$only_size" ]; then
	build arm64 bin/edgeagent-arm64
	fits arm64 bin/edgeagent-arm64
	prunes
	weighs
	exit
fi
rm -rf dist
mkdir -p dist
for arch in "$@"; do pack "$arch"; done
cd dist
sha256sum -- *.tar.gz >SHA256SUMS
cat SHA256SUMS
