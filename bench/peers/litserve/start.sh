#!/bin/sh
exec python "$(dirname "$0")/server.py" "$1" "$2"
