#!/usr/bin/env bash
# setup.sh installs the machine of the real power cuts: qemu from Debian's
# packages, and Debian's kernel for arm64, unpacked into e2e/out/qemu. The
# kernel comes by an apt configuration of its own, so that this machine does not
# gain a foreign architecture. What is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."
. ./get.sh
packages=(qemu-system-arm e2fsprogs)
missing=()
for p in "${packages[@]}"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
	if ! { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }; then
		echo "setup: missing ${missing[*]}; install them, or run as root on Debian" >&2
		exit 1
	fi
	export DEBIAN_FRONTEND=noninteractive
	again get "${missing[@]}"
fi

kernel=$PWD/out/qemu
compgen -G "$kernel/boot/vmlinuz-*" >/dev/null && exit 0
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
mkdir -p "$work"/lists/partial "$work"/cache/archives/partial "$work"/state
: >"$work/status"
cat >"$work/apt.conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "root";
Dir::State "$work/state";
Dir::State::lists "$work/lists";
Dir::State::status "$work/status";
Dir::Cache "$work/cache";
END
export APT_CONFIG=$work/apt.conf
again apt-get update -qq
# linux-image-cloud-arm64 is empty and depends on the newest one: its modules are
# those of virtual machines, and few.
image=$(apt-cache depends linux-image-cloud-arm64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
[ -n "$image" ] || { echo "setup: apt knows no kernel for arm64; is its archive configured?" >&2; exit 1; }
(cd "$work" && again apt-get download -qq "$image")
dpkg-deb -x "$work"/linux-image-*.deb "$work/root"
mkdir -p "$kernel"
cp -r "$work/root/boot" "$work/root/lib" "$kernel/"
