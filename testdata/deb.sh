#!/usr/bin/env bash
# Makes dist/wattrace_VERSION_ARCH.deb of what make dist-ARCH built.
# Usage: deb.sh VERSION ARCH GLIBC TOOL...
set -euo pipefail
version=$1 arch=$2 glibc=$3
shift 3
from=dist/wattrace-$version-linux-$arch
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

install -d "$root/usr/lib/wattrace/bin" "$root/usr/bin" "$root/usr/share/doc/wattrace" "$root/usr/lib/systemd/system" "$root/usr/share/zsh/vendor-completions" "$root/DEBIAN"
for tool; do
	install "$from/bin/$tool" "$root/usr/lib/wattrace/bin"
	ln -s "../lib/wattrace/bin/$tool" "$root/usr/bin/wattrace-$tool"
done
cp -R "$from/share/." "$root/usr/share"
mv "$root"/usr/share/zsh/site-functions/* "$root/usr/share/zsh/vendor-completions" # where Debian's zsh looks
rmdir "$root/usr/share/zsh/site-functions"
gzip -9n "$root"/usr/share/man/man1/*
install -m 644 "$from/record.service" "$root/usr/lib/systemd/system/wattrace-record.service"
install -m 644 "$from/README.md" "$root/usr/share/doc/wattrace"
gzip -9nc "$from/CHANGELOG.md" >"$root/usr/share/doc/wattrace/changelog.gz"
cat >"$root/usr/share/doc/wattrace/copyright" <<'EOF'
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: the wattrace authors
License: Apache-2.0
 The text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.
EOF

cat >"$root/DEBIAN/control" <<EOF
Package: wattrace
Version: $version
Architecture: $arch
Maintainer: The wattrace authors <wattrace@localhost>
Section: utils
Priority: optional
Depends: libc6 (>= $glibc)
Installed-Size: $(du -sk "$root/usr" | cut -f1)
Description: joules of an LLM server, and what they were spent on
 Replays traces against OpenAI-compatible servers, records the power of
 GPUs, and reduces both to energy, tokens per joule and joules per user,
 each with its method and its uncertainty.
EOF
find "$root" -type d -exec chmod 755 {} +
find "$root/usr/share" "$root/usr/lib/systemd" -type f -exec chmod 644 {} +
dpkg-deb --root-owner-group --build "$root" "dist/wattrace_${version}_$arch.deb"
