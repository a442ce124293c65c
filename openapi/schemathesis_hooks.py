"""What Schemathesis has to know to ask for what the document can't say."""

import hashlib
import json
import os

import schemathesis

# Waiting is tested elsewhere; here it would take most of the time. Every wait that is valid becomes this one, in seconds.
WAIT = 0


@schemathesis.serializer("application/x-ndjson")
def lines(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Where the server asks for tokens, a token is not optional: only then is it tried whether it is asked for."""
    if "DRAGON_TOKEN" in os.environ:
        for path in raw_schema["paths"].values():
            for operation in path.values():
                if operation.get("security") and operation["operationId"] != "getHealth":
                    operation["security"] = [scheme for scheme in operation["security"] if scheme]


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.operation.path == "/import/{account}":
        if is_valid(case):
            case.body = exported(case.body)
    elif isinstance(case.body, dict):
        # Nothing given, to the server. By the letter an enum has null only if it lists it, which makes bad types in most clients.
        if case.body.get("Kind", "") is None:
            case.body["Kind"] = "KV" if is_valid(case) else 0
        shorten_waits(case)
        if is_valid(case):
            keep_rules(case)


def is_valid(case):
    return case.meta is not None and case.meta.generation.mode.is_positive


def shorten_waits(case):
    body = case.body
    if case.operation.path == "/watch/{account}" and body.get("Wait") is None:
        body["Wait"] = WAIT
    for name in ("Wait", "LockWait"):
        wait = body.get(name)
        if isinstance(wait, int) and not isinstance(wait, bool) and 0 <= wait <= 300:
            body[name] = WAIT


def exported(text):
    """A file with one value, since a text by chance is no exported account."""
    rows = [
        {"Kind": "Account", "Format": 1, "Account": "a", "Revision": 1, "MarkMs": 0},
        {"Kind": "KV", "Key": "k", "Version": 1, "Value": str(text)},
    ]
    rows = "".join(json.dumps(row) + "\n" for row in rows)
    end = {"Kind": "End", "Rows": 1, "SHA256": hashlib.sha256(rows.encode()).hexdigest()}
    return rows + json.dumps(end) + "\n"


def keep_rules(case):
    """The rules between fields, and the limits in bytes, for which OpenAPI 3.0 has no words."""
    body = case.body
    for name, value in list(body.items()):
        body[name] = in_bytes(value, 256 if name == "LockOwner" else 512)
    if case.operation.path != "/db/{account}":
        return
    given = lambda name: body.get(name) is not None
    if not body.get("IdempotencyIDs"):
        body.pop("IdempotencyTTL", None)
    elif len(set(body["IdempotencyIDs"])) < len(body["IdempotencyIDs"]):
        body["IdempotencyIDs"] = sorted(set(body["IdempotencyIDs"]))
    if not (given("UnlockID") and given("Unlock")):
        body.pop("UnlockID", None), body.pop("Unlock", None)
    if not (given("LockID") and given("LockDur")):
        for name in ("LockID", "LockDur", "LockWait", "LockOwner"):
            body.pop(name, None)
    elif body["LockDur"] == 0 and body["LockID"] != body.get("UnlockID"):
        body["LockDur"] = 1
    for counter in body.get("Atomic") or []:
        changes = [name for name in ("Add", "Set") if counter.get(name) is not None]
        changes += ["Delete"] if counter.get("Delete") else []
        for name in changes[1:]:
            del counter[name]
    sets = {}
    for change in body.get("KVSet") or []:
        if change.get("Delete"):
            change.pop("Value", None), change.pop("TTL", None)
        else:
            change.setdefault("Value", None)
        sets[change["Key"]] = change
    if sets:
        body["KVSet"] = list(sets.values())
    left = 1000
    for name in ("Atomic", "KVSet", "KVGet"):
        if body.get(name):
            body[name] = body[name][:left]
            left -= len(body[name])
    if not any(body.get(name) for name in ("IdempotencyIDs", "UnlockID", "LockID", "Atomic", "KVSet", "KVGet")):
        body["KVGet"] = [{"Key": "k"}]


def in_bytes(value, most):
    """Texts of no more bytes, wherever they are."""
    if isinstance(value, str):
        return value.encode()[:most].decode(errors="ignore")
    if isinstance(value, list):
        return [in_bytes(entry, most) for entry in value]
    if isinstance(value, dict):
        return {name: in_bytes(entry, most) if name == "Key" else entry for name, entry in value.items()}
    return value
