#!/bin/sh
# The fork. `serve` starts the HTTP server (SageMaker starts a container so); anything else names a
# handler for Lambda's runtime, under the emulator where no Lambda is around it.
# Every branch ends in exec: the server has to receive SIGTERM itself.
set -eu

here=$(dirname -- "$(readlink -f -- "$0")")
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
# On Lambda the function's own settings say how to log; here the same as there.
export AWS_LAMBDA_LOG_FORMAT="${AWS_LAMBDA_LOG_FORMAT:-JSON}"

# One heap for all threads: those of their own give freed pictures back to the kernel at every request.
export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-1}"

# numpy's BLAS, which nothing here calls, would start a thread a CPU, and those spin for 0.1 s of CPU
# time: at half a CPU, a cold start would be throttled for them.
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-1}"

case "${1:-}" in
serve)
    shift
    exec python -m serving.serve "$@"
    ;;
"" | lambda.handler) # the proof of concept's name for it
    set -- serving.lambda_handler.handler
    ;;
esac
if [ -n "${AWS_LAMBDA_RUNTIME_API:-}" ]; then
    exec python -m awslambdaric "$@"
fi
# RIE_OPTIONS: the emulator's own flags, such as its address; split into words on purpose.
# shellcheck disable=SC2086
exec aws-lambda-rie ${RIE_OPTIONS:-} python -m awslambdaric "$@"
