#!/bin/sh
# Entry point. `serve` starts the HTTP server, as SageMaker does. No argument, or the name of a Lambda
# handler, starts the function; outside Lambda, the emulator runs it. Other words are refused: SageMaker
# would bill a `train` that never ends.
# exec starts every server, so that it receives SIGTERM itself.
set -eu

here=$(dirname -- "$(readlink -f -- "$0")")
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
# Outside Lambda, log in the format that the function is deployed with.
export AWS_LAMBDA_LOG_FORMAT="${AWS_LAMBDA_LOG_FORMAT:-JSON}"

# Use one heap for all threads: per-thread heaps return each picture's memory to the kernel.
export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-1}"

# numpy's BLAS, which is not used, would start a thread per CPU. The threads spin for 0.1 s of CPU time,
# which throttles a cold start at half a CPU.
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-1}"

usage="usage: serve [OPTIONS], or the name of a Lambda handler (default: serving.lambda_handler.handler)"
case "${1:-}" in
serve)
    shift
    exec python -m serving.serve "$@"
    ;;
-h | --help)
    echo "$usage"
    exit
    ;;
"" | lambda.handler) # the proof of concept's name for it
    set -- serving.lambda_handler.handler
    ;;
esac
if [ -n "${AWS_LAMBDA_RUNTIME_API:-}" ]; then
    exec python -m awslambdaric "$@"
fi
if [ "$1" != serving.lambda_handler.handler ] && ! python - "$1" >/dev/null 2>&1 <<'END'; then
import importlib, sys
module, dot, function = sys.argv[1].replace("/", ".").rpartition(".")
sys.exit(not callable(getattr(importlib.import_module(module), function)))
END
    echo "'$1' is not \"serve\", and no Lambda handler of that name can be imported; $usage" >&2
    exit 2
fi
# RIE_OPTIONS: the emulator's own flags, such as its address; split into words on purpose.
# shellcheck disable=SC2086
exec aws-lambda-rie ${RIE_OPTIONS:-} python -m awslambdaric "$@"
