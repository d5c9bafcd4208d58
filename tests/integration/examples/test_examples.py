"""The golden cases of examples/, or of MODEL_FOLDER: the pipeline and both faces agree."""

import os
from pathlib import Path

import pytest

from ops.local_servers import ROOT
from support import cases
from support.cases import Case
from support.model_folders import Models

NAMED = os.environ.get("MODEL_FOLDER")
FOLDERS = (
    [Path(NAMED).resolve()]
    if NAMED
    else sorted(path.parent for path in (ROOT / "examples").glob("*/golden.json"))
)
CASES = [
    pytest.param(folder, case, id=f"{folder.name}: {case.name.removeprefix('golden: ')}")
    for folder in FOLDERS
    for case in cases.read(folder / "golden.json", folder)
]


@pytest.mark.parametrize(("folder", "case"), CASES)
def test_golden(folder: Path, case: Case, models: Models) -> None:
    model = models(folder)
    call = (case.method, case.path, case.headers, case.body({}))
    first = model.pipeline.send(*call)
    try:
        case.check(first, {})
        for face in (model.http, model.function):
            reply = face.send(*call)
            same = (reply.status, reply.body) == (first.status, first.body)
            assert same, f"{face}: {reply.body!r}\npipeline: {first.body!r}"
        if case.is_json:
            case.check_direct(model.function.invoke(case.event({})), {})
    except AssertionError as wrong:  # the author of the case does not need our stack trace
        raise pytest.fail.Exception(str(wrong), pytrace=False) from None
