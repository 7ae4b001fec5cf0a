#!/usr/bin/env bash
# The npm package on a fresh Debian 12 that has git, nodejs and npm: installed globally, and unpacked with npm ci. Takes the folder
# of the tarball (npm run package -- FOLDER) with this script in it: fresh-debian FOLDER ./fresh-install.sh
set -euo pipefail
tarball=$(realpath holdfast-*.tgz)
node --version; npm --version

npm install -g --ignore-scripts --no-audit --no-fund --loglevel=error "$tarball"
export HOLDFAST_DATA=/var/lib/data/one
check() {
  "$1" --version
  "$1" up --detach --drive-size 1GiB --sparse
  "$1" volume create db --size 256MiB
  "$1" volume attach db --nbd
  "$1" volume detach db
  if [ -e /sbin/mkfs.ext4 ]; then "$1" volume mount db; echo kept >"$HOLDFAST_DATA/mnt/db/file"; fi
  "$1" upgrade
  "$1" status | grep -E '^(engine|attacher|control) +running'
  "$1" install --dry-run | grep -q "/src/main.js engine --data"
  "$1" uninstall --yes
}
command -v holdfast
check holdfast
npm uninstall -g holdfast --loglevel=error
[ ! -e /usr/local/bin/holdfast ]

mkdir /opt/unpacked && cd /opt/unpacked && tar -xzf "$tarball" --strip-components=1
npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error
export HOLDFAST_DATA=/var/lib/data/two
check ./bin/holdfast
du -sh node_modules
echo "fresh-install: all holds"
