#!/bin/sh
# make_base_image.sh TAG [ARCHITECTURE]: a stand-in for the Dockerfile's BASE_IMAGE where no registry can
# be reached, of this machine's architecture or another that binfmt runs, such as arm64.
# Debian's own Python 3.11 on a minimal bookworm, with this machine's CA certificates, so that pip
# inside the build trusts what pip outside it trusts.
set -eu

certificates=/etc/ssl/certs/ca-certificates.crt
architecture=${2:-$(dpkg --print-architecture)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mmdebstrap --quiet --variant=minbase --architectures="$architecture" --include=ca-certificates,python3,python3-venv \
    --customize-hook="upload $certificates $certificates" bookworm "$folder/root.tar"
# `docker import` would call it this machine's.
printf 'FROM scratch\nADD root.tar /\n' >"$folder/Dockerfile"
docker build --quiet --platform "linux/$architecture" --tag "$1" "$folder" >/dev/null
