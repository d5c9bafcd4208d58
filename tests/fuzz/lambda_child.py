"""The Lambda handler, an event a line of standard input, what came of it a line of standard output.

    PYTHONPATH=container python tests/fuzz/lambda_child.py

As in awslambdaric, an event that is no JSON is refused before the handler sees it.
"""

import json
import os
import sys

with os.fdopen(os.dup(1), "w") as results:
    os.dup2(2, 1)  # the handler's log has standard output otherwise

    from awslambdaric.lambda_runtime_exception import FaultException

    from serving.lambda_handler import handler

    for line in sys.stdin:
        try:
            event = json.loads(line)
        except (RecursionError, ValueError):
            found: dict[str, object] = {"refused": True}
        else:
            try:
                found = {"answer": handler(event, None)}
            except FaultException as fault:
                found = {"fault": fault.exception_type}
            except Exception as error:
                found = {"raised": repr(error)}
        results.write(json.dumps(found) + "\n")
        results.flush()
