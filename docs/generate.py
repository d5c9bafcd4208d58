"""Write the tables that docs/ takes from the code; with --check, exit 1 if one is out of date.

PYTHONPATH=.:container python docs/generate.py [--check]
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from inspect import getsource
from itertools import pairwise
from pathlib import Path

from infra.config.keys import MEANINGS, RULES, Config
from serving.core import errors
from serving.core.settings import Settings

REGION = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- /generated -->)", re.DOTALL)
NAMES = {"THREADS": "OMP_NUM_THREADS"}  # the one variable that is not named after its field
DEFAULTS = {  # as the environment has them, where that is not the field's default
    "WORKERS": "the granted CPUs",
    "OMP_NUM_THREADS": "1; on Lambda the granted CPUs",
    "FETCH_TIMEOUT_SECONDS": "`10`",
    "FETCH_PRIVATE_ADDRESSES": "`0`",
    "URI_ALLOWLIST": "`*`",
    "FORWARD_SPILL": "`0`",
}


def keys() -> Iterator[str]:
    """Yield a table of context keys for each group."""
    defaults = {field.name: field.default for field in fields(Config)}
    for number, (group, meanings) in enumerate(MEANINGS.items()):
        yield "\n" * bool(number) + f"### {group}\n\n"
        yield "| Key | Default | Allowed values | Meaning |\n| --- | --- | --- | --- |\n"
        for name, meaning in meanings.items():
            default = shown(defaults[name]) if name != "mode" else ""
            yield f"| `{name}` | {default} | {RULES[name].allowed} | {meaning} |\n"


def variables() -> Iterator[str]:
    """Yield the table of environment variables: those fields of Settings that have a docstring."""
    defaults = {field.name: field.default for field in fields(Settings)}
    (settings,) = ast.parse(getsource(Settings)).body
    yield "| Variable | Default | Meaning |\n| --- | --- | --- |\n"
    for node, following in pairwise(ast.iter_child_nodes(settings)):
        match node, following:
            case ast.AnnAssign(ast.Name(field)), ast.Expr(ast.Constant(str(meaning))):
                name = NAMES.get(field.upper(), field.upper())
                default = DEFAULTS.get(name) or shown(defaults[field])
                yield f"| `{name}` | {default} | {' '.join(meaning.split())} |\n"


def codes() -> Iterator[str]:
    """Yield the table of error codes."""
    yield "| Status | Code | When |\n| --- | --- | --- |\n"
    for error in sorted(errors.ServingError.__subclasses__(), key=lambda error: error.status):
        yield f"| {error.status} | `{error.code}` | {' '.join((error.__doc__ or '').split())} |\n"


def shown(value: object) -> str:
    """Return a default as one sets it, or nothing if there is none."""
    if value in (None, (), ""):
        return ""
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return f"`{text.lower() if isinstance(value, bool) else text}`"


tables = {make.__name__: "".join(make()) for make in (keys, variables, codes)}
for page in sorted(Path(__file__).resolve().parent.glob("*.md")):
    old = page.read_text()
    new = REGION.sub(lambda region: region[1] + tables[region[2]] + region[3], old)
    if new != old and "--check" in sys.argv:
        sys.exit(f"{page.name} is out of date: run `make docs`")
    page.write_text(new)
