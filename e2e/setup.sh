#!/usr/bin/env bash
# setup.sh installs the real peers of the end-to-end tests from Debian's
# packages and from npm, and builds the ones that are ours. It needs root for apt-get; what is
# there already is left alone.
set -euo pipefail
cd "$(dirname "$0")"
. ./get.sh
packages=(libmodbus-dev mbpoll python3-pymodbus python3-serial-asyncio postgresql
	socat iproute2 nftables qemu-user-static chromium)
# A real Ollama: the one on PATH, or one that is built once, in three minutes, of
# its module. Headers that a module cannot carry come from Debian and from here.
ollama=v0.17.4
if ! command -v ollama >/dev/null; then
	packages+=(g++ nlohmann-json3-dev libstb-dev)
fi
missing=()
for p in "${packages[@]}"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
	if ! { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }; then
		echo "setup: missing ${missing[*]}; install them, or run as root on Debian" >&2
		[ "${REQUIRE_RIGS:-0}" = 1 ] && exit 1
		exit 0
	fi
	export DEBIAN_FRONTEND=noninteractive
	again get "${missing[@]}"
fi
[ peers/node/node_modules/.package-lock.json -nt peers/node/package-lock.json ] ||
	again npm --prefix peers/node ci --ignore-scripts --no-audit --no-fund --loglevel=error
mkdir -p out
for peer in server client; do
	gcc -O2 -Wall -I/usr/include/modbus -o "out/libmodbus-$peer" "peers/libmodbus_$peer.c" -lmodbus
done
if ! command -v ollama >/dev/null && ! [ -x out/ollama ]; then
	export GOFLAGS='' GOBIN="$PWD/out" CGO_ENABLED=1 CGO_CFLAGS='-O1 -g0' CGO_CXXFLAGS="-O1 -g0 -I$PWD/ollama/shim"
	again go install -trimpath -ldflags '-s -w' "github.com/ollama/ollama@$ollama"
fi
