#!/bin/sh
unset OMP_NUM_THREADS # MXNet chooses its threads, as in the original
exec python "$(dirname "$0")/serve.py" "$1"
