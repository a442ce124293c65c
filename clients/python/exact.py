"""The data calls of the generated client, with each Value as the JSON text that the server keeps, to the byte.

It stands alone beside the generated client: copy it into your project.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
from cloud_dragon_client import AuthenticatedClient, Client
from cloud_dragon_client.models import (
    ErrorAnswer,
    ListAnswer,
    ListRequest,
    TransactAnswer,
    TransactRequest,
    ValueState,
    WatchRequest,
)


@dataclass(frozen=True)
class JsonText:
    """A Value as it is written. In a request it may stand beside values of the usual kinds."""

    text: str


def transact(
    account: str, *, client: AuthenticatedClient | Client, body: TransactRequest
) -> TransactAnswer | ErrorAnswer:
    answer = _post("db", account, client, body)
    return TransactAnswer.from_dict(_read_answer(answer.text)) if answer.is_success else _read_error(answer.text)


def list_(account: str, *, client: AuthenticatedClient | Client, body: ListRequest) -> ListAnswer | ErrorAnswer:
    answer = _post("list", account, client, body)
    return ListAnswer.from_dict(_read_answer(answer.text)) if answer.is_success else _read_error(answer.text)


def watch(account: str, *, client: AuthenticatedClient | Client, body: WatchRequest) -> ValueState | ErrorAnswer | None:
    """None: nothing changed."""
    answer = _post("watch", account, client, body)
    if answer.status_code == httpx.codes.NO_CONTENT:
        return None
    return ValueState.from_dict(_read_state(answer.text)) if answer.is_success else _read_error(answer.text)


def _post(
    path: str,
    account: str,
    client: AuthenticatedClient | Client,
    body: TransactRequest | ListRequest | WatchRequest,
) -> httpx.Response:
    return client.get_httpx_client().post(
        f"/{path}/{quote(account, safe='')}",
        content=_written(body.to_dict()),
        headers={"Content-Type": "application/json"},
    )


def _written(body: dict[str, Any]) -> bytes:
    """The body as JSON: first with a mark for each JsonText, then with its text there."""
    texts: dict[str, str] = {}

    def mark(value: object) -> str:
        if not isinstance(value, JsonText):
            raise TypeError(f"{type(value).__name__} can't be written as JSON")
        _decoder.decode(value.text)  # One value: what is more or less would be taken for a part of the request.
        name = uuid4().hex
        texts[f'"{name}"'] = value.text
        return name

    marked = json.dumps(body, allow_nan=False, default=mark)
    if texts:
        marked = re.sub("|".join(texts), lambda found: texts[found[0]], marked)
    return marked.encode()


def _read_answer(text: str) -> dict[str, Any]:
    return {
        name: [_read_state(state) for state in _parts(value)] if name == "KV" else json.loads(value)
        for name, value in _members(text).items()
    }


def _read_state(text: str) -> dict[str, Any]:
    return {name: JsonText(value) if name == "Value" else json.loads(value) for name, value in _members(text).items()}


def _read_error(text: str) -> ErrorAnswer:
    return ErrorAnswer.from_dict(
        {
            name: _read_answer(value) if name == "Response" else json.loads(value)
            for name, value in _members(text).items()
        }
    )


def _members(text: str) -> dict[str, str]:
    """The members of an object, each as JSON text."""
    parts = _parts(text)
    return {json.loads(name): value for name, value in zip(parts, parts)}


# It is asked only where values end. Numbers are not made of digits: Python makes none of more than 4300.
_decoder = json.JSONDecoder(parse_int=str, parse_float=str)
_between = re.compile(r"[ \t\n\r,:]*")


def _parts(text: str) -> Iterator[str]:
    """What an array holds, or the names and the values of an object in turn, each as JSON text."""
    end = 1
    while True:
        start = _between.match(text, end).end()  # type: ignore[union-attr] # It matches nothing at all, too.
        if text[start] in "]}":
            return
        _, end = _decoder.raw_decode(text, start)
        yield text[start:end]
