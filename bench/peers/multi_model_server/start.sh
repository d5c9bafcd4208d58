#!/bin/sh
# The settings of SageMaker's inference toolkit, and a worker for each CPU.
cat >config.properties <<END
vmargs=-XX:-UseContainerSupport
inference_address=http://127.0.0.1:$1
management_address=http://127.0.0.1:$1
default_workers_per_model=$2
default_response_timeout=300
async_logging=true
decode_input_request=false
END
exec multi-model-server --start --foreground --mms-config config.properties \
    --model-store "$(dirname "$0")" --models classifier=onnx
