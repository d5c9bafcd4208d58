#!/bin/sh
export BENCH_WORKERS="$2"
exec bentoml serve service:Classifier --working-dir "$(dirname "$0")" --host 127.0.0.1 --port "$1"
