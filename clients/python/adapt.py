"""Writes the OpenAPI document as the generator needs it: adapt.py DOCUMENT ADAPTED."""

import json
import sys
from pathlib import Path
from typing import Any

METHODS = {"get", "put", "post", "delete", "patch"}


def adapt(operation: dict[str, Any]) -> None:
    # A server without tokens needs no token. The generator takes an optional token for a required one, and would refuse
    # the plain Client in its types; without a word on tokens it takes both kinds of client.
    operation.pop("security", None)
    # Exports are bytes to be kept as they are, and the generator sends a body of this kind only as a binary one.
    for message in [operation.get("requestBody", {}), *operation["responses"].values()]:
        for kind, content in message.get("content", {}).items():
            if kind == "application/x-ndjson":
                content["schema"]["format"] = "binary"


def main() -> None:
    source, target = sys.argv[1:]
    document = json.loads(Path(source).read_text(encoding="utf-8"))
    for path in document["paths"].values():
        for method in METHODS & path.keys():
            adapt(path[method])
    Path(target).write_text(json.dumps(document), encoding="utf-8")


main()
