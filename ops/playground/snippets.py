"""Write curl and Python programs that repeat the page's request. Nothing here does I/O.

Credentials come from variables. File names and addresses are untrusted text, and so are quoted.
"""

import json
import shlex
from urllib.parse import quote

from ops.inputs import JSON, Input
from ops.local_servers import EMULATOR_PATH, EmulatedLambda, HttpFace, url_event
from ops.parity.targets import Client
from ops.targets import Endpoint, FunctionUrl

_MAX_INLINE_BYTES = 2000  # a longer request is read from a file
_MARK = "BODY"


def snippets(client: Client, item: Input) -> dict[str, str]:
    return {"curl": _curl(client, item), "Python": _python(client, item)}


def _is_inline(item: Input) -> bool:
    return item.content_type == JSON and len(item.body) <= _MAX_INLINE_BYTES


def _curl(client: Client, item: Input) -> str:
    inline = _is_inline(item)
    content_type = shlex.quote(f"Content-Type: {item.content_type}")
    body = item.body.decode(errors="replace") if inline else f"@{item.name}"
    # With --data-raw, a body that begins with @ does not name a file.
    data = f"-H {content_type} {'--data-raw' if inline else '--data-binary'} {shlex.quote(body)}"
    match client:
        case HttpFace():
            return f"curl -sS {shlex.quote(client.url + '/invocations')} \\\n  {data}"
        case FunctionUrl():
            return f"{_signed(client.url, 'lambda', client.region)}  {data}"
        case Endpoint():
            url = f"{client.service_url}/endpoints/{quote(client.endpoint_name)}/invocations"
            return f"{_signed(url, 'sagemaker', client.region)}  {data}"
    # The event holds the body as base64.
    parts = json.dumps(_event(item)).rpartition(_MARK)
    before, after = shlex.quote(parts[0]), shlex.quote(parts[2])
    source = f"printf %s {shlex.quote(body)}" if inline else f"cat -- {shlex.quote(item.name)}"
    event = f"(printf %s {before}; {source} | base64 -w0; printf %s {after}) |\n  "
    data = "  --data-binary @-"
    if isinstance(client, EmulatedLambda):
        return f"{event}curl -sS {client.url}{EMULATOR_PATH} \\\n{data}"
    # curl wrongly signs a path with a colon, so the alias goes into the query.
    name, _, qualifier = client.function_name.rpartition(":function:")[2].partition(":")
    url = f"{client.service_url}/2015-03-31/functions/{quote(name)}/invocations"
    url += f"?Qualifier={quote(qualifier)}" if qualifier else ""
    return event + _signed(url, "lambda", client.region) + data


def _signed(url: str, service: str, region: str) -> str:
    return (
        f"curl -sS {shlex.quote(url)} --aws-sigv4 aws:amz:{region}:{service} \\\n"
        '  --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \\\n'
        '  ${AWS_SESSION_TOKEN:+-H "x-amz-security-token: $AWS_SESSION_TOKEN"} \\\n'
    )


def _python(client: Client, item: Input) -> str:
    body = repr(item.body) if _is_inline(item) else f'open({item.name!r}, "rb").read()'
    headers = {"Content-Type": item.content_type}
    match client:
        case HttpFace():
            return f"""\
import urllib3

body = {body}
url = {client.url + "/invocations"!r}
reply = urllib3.request("POST", url, body=body, headers={headers})
print(reply.data.decode())
"""
        case FunctionUrl():
            return f"""\
import boto3, urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

body = {body}
request = AWSRequest("POST", {client.url!r}, {headers}, data=body)
credentials = boto3.Session().get_credentials()
SigV4Auth(credentials, "lambda", {client.region!r}).add_auth(request)
reply = urllib3.request("POST", request.url, body=body, headers=dict(request.headers))
print(reply.data.decode())
"""
        case Endpoint():
            return f"""\
import boto3

body = {body}
sagemaker = boto3.client("sagemaker-runtime", region_name={client.region!r})
reply = sagemaker.invoke_endpoint(
    EndpointName={client.endpoint_name!r}, ContentType={item.content_type!r}, Body=body
)
print(reply["Body"].read().decode())
"""
    event = repr(_event(item)).replace(repr(_MARK), "base64.b64encode(body).decode()")
    if isinstance(client, EmulatedLambda):
        return f"""\
import base64, urllib3

body = {body}
event = {event}
reply = urllib3.request("POST", {client.url + EMULATOR_PATH!r}, json=event)
print(reply.json()["body"])
"""
    return f"""\
import base64, boto3, json

body = {body}
event = {event}
client = boto3.client("lambda", region_name={client.region!r})
reply = client.invoke(FunctionName={client.function_name!r}, Payload=json.dumps(event))
print(json.load(reply["Payload"])["body"])
"""


def _event(item: Input) -> dict[str, object]:
    event = url_event("POST", "/invocations", {"content-type": item.content_type}, b"")
    return {**event, "body": _MARK}
