#!/bin/sh
export MLSERVER_HTTP_PORT="$1" MLSERVER_PARALLEL_WORKERS="$2"
exec mlserver start "$(dirname "$0")"
