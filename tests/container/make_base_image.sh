#!/bin/sh
# make_base_image.sh TAG: a stand-in for the Dockerfile's BASE_IMAGE where no registry can be reached.
# Debian's own Python 3.11 on a minimal bookworm, with this machine's CA certificates, so that pip
# inside the build trusts what pip outside it trusts.
set -eu

certificates=/etc/ssl/certs/ca-certificates.crt
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3,python3-venv \
    --customize-hook="upload $certificates $certificates" bookworm "$folder/root.tar"
docker import "$folder/root.tar" "$1" >/dev/null
