"""An update changes most resources in place and replaces only some of them.

CloudFormation first creates resources with new logical ids and deletes old ones last.
"""

from collections import defaultdict
from dataclasses import fields
from itertools import combinations, permutations
from typing import Any

import pytest

from infra.config.keys import Config
from support.templates import BATCH, EXAMINER, GROUPS, MODEL_DATA, MODEL_ID, SUBNETS

Keys = dict[str, str]
MODEL, CONFIG, ENDPOINT = (
    f"AWS::SageMaker::{kind}" for kind in ("Model", "EndpointConfig", "Endpoint")
)
POLICY, VERSION, FUNCTION = "AWS::IAM::Policy", "AWS::Lambda::Version", "AWS::Lambda::Function"
BOTH = {"mode": "both"}
ARM = {"architecture": "arm64"}
IN_VPC = {"subnet_ids": SUBNETS, "security_group_ids": GROUPS}

# Settings that deployments may change in any order.
MODELS: list[Keys] = [
    {},
    {"model_id": MODEL_ID},
    {"model_data": MODEL_DATA, "model_id": MODEL_ID},
    {"model_data": MODEL_DATA, "model_id": MODEL_ID[::-1]},
    {"model_data": MODEL_DATA.replace("v1", "v2"), "model_id": MODEL_ID},
]
LISTS = ("*", "none", "s3://a-bucket", "s3://b-bucket", "s3://a-bucket,s3://b-bucket,example.com")
TYPES: list[Keys] = [
    {"sagemaker_type": "realtime"},
    {"sagemaker_type": "realtime", "instance_type": "ml.c7i.xlarge"},
    {"sagemaker_type": "realtime", "data_capture_percent": "5"},
    {"sagemaker_type": "realtime", **ARM, "instance_type": "ml.c7g.large"},
    {
        **{"sagemaker_type": "realtime", "instance_type": "ml.c7i.xlarge"},
        **{"data_capture_percent": "5", "model_data": MODEL_DATA, "model_id": MODEL_ID, **IN_VPC},
    },
    {"sagemaker_type": "serverless"},
    {"sagemaker_type": "async"},
    {"sagemaker_type": "async", "instance_type": "ml.c7i.xlarge", "min_instances": "0"},
]
WALKS: dict[str, list[Keys]] = {
    "model_data": [{**BOTH, **model} for model in MODELS],
    "uri_allowlist": [{**BOTH, "uri_allowlist": listed} for listed in LISTS],
    "subnet_ids": [BOTH, {**BOTH, **IN_VPC}],
    "data_capture_percent": [{**BOTH, "data_capture_percent": share} for share in ("0", "5")],
    "architecture": [BOTH, {**BOTH, **ARM}, {**BOTH, **ARM, "instance_type": "ml.m8g.large"}],
    "sagemaker_type": [{**BOTH, **kind} for kind in TYPES],
    "mode": [{"mode": mode} for mode in ("lambda", "sagemaker", "both")],
    "move": [
        {"mode": "lambda"},
        {**BOTH, "sagemaker_percent": "10"},
        {**BOTH, "sagemaker_percent": "100", "spill": "true"},
        {"mode": "sagemaker", "keep_url": "true"},
        {"mode": "sagemaker", "keep_url": "true", "sagemaker_type": "serverless"},
    ],
    "function": [BOTH, {**BOTH, "lambda_memory_mb": "3008"}, {**BOTH, "model_name": "alexnet"}],
    "all": [BOTH, {**BOTH, **TYPES[4]}, {**BOTH, **TYPES[6], "uri_allowlist": LISTS[4]}],
}
PAIRS = [
    pytest.param(one, other, id=f"{walk}-{number}")
    for walk, steps in WALKS.items()
    for number, (one, other) in enumerate(combinations(steps, 2))
]
each_pair = pytest.mark.parametrize(("one", "other"), PAIRS)


def ids(stack: Any) -> set[str]:
    """Return the logical ids of all but the examiner's resources."""
    return {name for name in stack.template["Resources"] if EXAMINER not in name}


def of_the_endpoint(synthesize: Any, keys: Keys) -> set[str]:
    """Return the logical ids of the resources that exist only with an endpoint."""
    return ids(synthesize(**keys)) - ids(synthesize(**{**keys, "mode": "lambda"}))


@each_pair
def test_no_policy_is_rewritten(synthesize: Any, one: Keys, other: Keys) -> None:
    """Otherwise running resources, or a rollback, could lose a permission."""
    before, after = (
        stack.resources(POLICY) | stack.resources(POLICY, of_examiner=True)
        for stack in (synthesize(**one), synthesize(**other))
    )
    for name in before.keys() & after.keys():
        assert before[name]["Properties"] == after[name]["Properties"], name


@each_pair
def test_a_new_policy_has_another_name(synthesize: Any, one: Keys, other: Keys) -> None:
    """During an update a role has both; with one name, deleting the old one deletes the new one."""
    logical = defaultdict(set)
    for stack in (synthesize(**one), synthesize(**other)):
        for name, policy in stack.resources(POLICY).items():
            logical[policy["Properties"]["PolicyName"]].add(name)
    assert {name: found for name, found in logical.items() if len(found) > 1} == {}


@each_pair
def test_a_version_is_new_where_the_function_is(synthesize: Any, one: Keys, other: Keys) -> None:
    """Lambda publishes no version of an unchanged function, and the deployment would fail."""
    versions, functions = (
        [synthesize(**keys).resources(kind) for keys in (one, other)]
        for kind in (VERSION, FUNCTION)
    )
    if all(functions):
        first, second = (next(iter(found.values()))["Properties"] for found in functions)
        assert (versions[0].keys() == versions[1].keys()) == (first == second)


@pytest.mark.parametrize(("one", "other"), [*combinations(TYPES, 2)])
def test_another_type_replaces_the_whole_endpoint(synthesize: Any, one: Keys, other: Keys) -> None:
    """Other resources stay, and the old endpoint keeps its own until it is deleted."""
    before, after = {**BOTH, **one}, {**BOTH, **other}
    old, new = of_the_endpoint(synthesize, before), of_the_endpoint(synthesize, after)
    keys = ("sagemaker_type", "instance_type")
    if [one.get(key) for key in keys] == [other.get(key) for key in keys]:
        assert old <= new
    else:
        assert not old & new
    if len(one.keys() | other.keys()) <= len(keys):
        assert ids(synthesize(**before)) - old == ids(synthesize(**after)) - new


RESERVED = {"lambda_reserved_concurrency": "5"}
# For each key, the keys before and after a change.
IN_PLACE: dict[str, tuple[Keys, Keys]] = {
    "model_name": ({}, {"model_name": "mobilenetv3_large"}),
    "alarm_email": ({}, {"alarm_email": "team@example.com"}),
    "model_folder": ({}, {"model_folder": "examples/iris"}),
    "model_data": (MODELS[2], MODELS[4]),
    "model_id": (MODELS[2], MODELS[3]),
    "architecture": ({"mode": "lambda"}, {"mode": "lambda", **ARM}),
    "build_args": ({}, {"build_args": "PIP_INDEX_URL=https://pypi.example.com/simple"}),
    "rebuild": ({}, {"rebuild": "2026-11-30"}),
    "lambda_memory_mb": ({}, {"lambda_memory_mb": "3008"}),
    "lambda_timeout_seconds": ({}, {"lambda_timeout_seconds": "60"}),
    "lambda_ephemeral_mb": ({}, {"lambda_ephemeral_mb": "4096"}),
    "lambda_reserved_concurrency": ({}, RESERVED),
    "lambda_provisioned_concurrency": ({}, {"lambda_provisioned_concurrency": "5"}),
    "min_instances": ({"max_instances": "4"}, {"min_instances": "2", "max_instances": "4"}),
    "max_instances": ({"max_instances": "1"}, {"max_instances": "4"}),
    "invocations_per_instance_per_minute": ({}, {"invocations_per_instance_per_minute": "9"}),
    "data_capture_percent": ({}, {"data_capture_percent": "5"}),
    "serverless_memory_mb": (TYPES[5], {**TYPES[5], "serverless_memory_mb": "6144"}),
    "serverless_max_concurrency": (TYPES[5], {**TYPES[5], "serverless_max_concurrency": "9"}),
    "url_auth": (RESERVED, {**RESERVED, "url_auth": "none"}),
    "url_cors_origins": ({}, {"url_cors_origins": "*"}),
    "uri_allowlist": ({"uri_allowlist": LISTS[2]}, {"uri_allowlist": LISTS[4]}),
    "network_isolation": ({}, {"network_isolation": "true"}),
    "subnet_ids": ({}, IN_VPC),
    "security_group_ids": (IN_VPC, {**IN_VPC, "security_group_ids": GROUPS[:-1] + "1"}),
    "sagemaker_percent": ({"sagemaker_percent": "10"}, {"sagemaker_percent": "100"}),
    "keep_url": (WALKS["move"][3], WALKS["move"][1]),
    "spill": ({"sagemaker_percent": "10"}, {"sagemaker_percent": "10", "spill": "true"}),
    "batch_input": (BATCH, {**BATCH, "batch_input": "s3://more-work"}),
    "batch_output": (BATCH, {**BATCH, "batch_output": "s3://answers-of-ours"}),
    "log_retention_days": ({}, {"log_retention_days": "90"}),
    "examiner": ({}, {"examiner": "false"}),
    "mode": ({"mode": "lambda"}, BOTH),
}
# These keys also change the policy that allows reading.
READ = ("model_data", "uri_allowlist", "batch_input", "batch_output")


def test_every_other_key_is_tested() -> None:
    """Another stack_name creates another stack; model_package_arn only sets model_data."""
    anew = {"stack_name", "sagemaker_type", "instance_type", "model_package_arn"}
    assert IN_PLACE.keys() == {key.name for key in fields(Config)} - anew


@pytest.mark.parametrize("key", IN_PLACE)
def test_any_other_key_changes_in_place(synthesize: Any, key: str) -> None:
    one, other = IN_PLACE[key]
    before, after = synthesize(**{**BOTH, **one}), synthesize(**{**BOTH, **other})
    assert before.template != after.template
    gone = ids(before) - ids(after)
    kinds = {before.template["Resources"][name]["Type"] for name in gone}
    # These types cannot change in place, and policies for reading must not.
    assert kinds <= {VERSION, MODEL, CONFIG} | ({POLICY} if key in READ else set())


def test_an_endpoint_that_changes_has_a_new_config_to_change_to(synthesize: Any) -> None:
    """UpdateEndpoint refuses the current config. Only an asynchronous endpoint has all sizes."""
    sizes = [(0, 1), (0, 2), (1, 1), (1, 2), (1, 4), (2, 2), (2, 4), (3, 4)]
    sizes += [(4, 20), (4, 21), (4, 60)]  # in batches of one, of two, and blue/green
    refused = []
    for one, other in permutations(sizes, 2):
        bounds = [{"min_instances": str(a), "max_instances": str(b)} for a, b in (one, other)]
        stacks = [synthesize(mode="sagemaker", sagemaker_type="async", **each) for each in bounds]
        before, after = (stack.only(ENDPOINT)[1] for stack in stacks)
        changed = {key for key in before.keys() | after.keys() if before[key] != after[key]}
        if changed and stacks[0].only(CONFIG) == stacks[1].only(CONFIG):
            refused.append((one, other, changed))
    assert refused == []
