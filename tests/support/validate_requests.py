"""Holds requests against a vendor's API description, with openapi-core.

Reads one JSON object from stdin:

  {"description": PATH, "server": URL, "requests": [{"method", "url", "headers", "body"}, …]}

and prints {"version": …, "bad": [{"request": "METHOD URL", "why": "…"}, …]}. The description is cut down to the paths
that the requests could mean, because reading all of GitHub's takes minutes; what these paths refer to stays.
"""

import json
import re
import sys
from urllib.parse import parse_qsl, urlsplit

import yaml
from openapi_core import Config, OpenAPI
from openapi_core.testing import MockRequest

METHODS = ("get", "put", "post", "patch", "delete")


def pattern(path):
    parts = re.split(r"(\{[^}]+\})", path)
    return re.compile("".join("[^/]+" if part.startswith("{") else re.escape(part) for part in parts) + "$")


def referred(node, found):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            found.add(node["$ref"])
        for value in node.values():
            referred(value, found)
    elif isinstance(node, list):
        for value in node:
            referred(value, found)


def excerpt(whole, paths):
    """The description with these paths, and with the components that they lead to."""
    cut = {key: value for key, value in whole.items() if key not in ("paths", "components", "tags")}
    cut["paths"] = {path: whole["paths"][path] for path in paths}
    components = {"securitySchemes": whole.get("components", {}).get("securitySchemes", {})}
    todo, done = set(), set()
    referred(cut["paths"], todo)
    while todo - done:
        reference = (todo - done).pop()
        done.add(reference)
        kind, name = reference.removeprefix("#/components/").split("/", 1)
        name = name.replace("~1", "/").replace("~0", "~")
        component = whole["components"][kind][name]
        components.setdefault(kind, {})[name] = component
        referred(component, todo)
    cut["components"] = components
    return cut


def reasons(error):
    """An error of the library, with what it was raised from."""
    words = []
    while error is not None:
        words.append(str(error))
        words.extend(str(inner.message) for inner in getattr(error, "schema_errors", ()) or ())
        error = error.__cause__
    return ": ".join(words)


def main():
    asked = json.load(sys.stdin)
    with open(asked["description"], encoding="utf-8") as file:
        text = file.read()
    # Unquoted dates in examples are texts, not dates.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    whole = json.loads(text) if asked["description"].endswith(".json") else yaml.load(text, loader)
    whole = json.loads(json.dumps(whole, default=str))
    base = urlsplit(asked["server"])
    prefix = base.path.rstrip("/")
    wanted = set()
    for request in asked["requests"]:
        path = urlsplit(request["url"]).path.removeprefix(prefix)
        wanted |= {known for known in whole["paths"] if pattern(known).match(path)}
    # A request for what the description does not have still needs one to be held against.
    cut = excerpt(whole, wanted or list(whole["paths"])[:1])
    cut["servers"] = [{"url": asked["server"]}]
    for item in cut["paths"].values():
        item.pop("servers", None)
        for method in METHODS:
            item.get(method, {}).pop("servers", None)
    # These are JSON too, which the library does not know of itself.
    patches = {f"application/{kind}-patch+json": json.loads for kind in ("merge", "json")}
    openapi = OpenAPI.from_dict(cut, config=Config(extra_media_type_deserializers=patches))
    bad = []
    for request in asked["requests"]:
        url = urlsplit(request["url"])
        headers = request["headers"]
        mock = MockRequest(
            f"{url.scheme}://{url.netloc}",
            request["method"].lower(),
            url.path,
            args=dict(parse_qsl(url.query, keep_blank_values=True)),
            headers=headers,
            content_type=headers.get("content-type", "application/json").split(";")[0],
            data=request["body"].encode() or None,
        )
        try:
            openapi.validate_request(mock)
        except Exception as error:  # whatever it is, it is not as described
            bad.append({"request": f"{request['method']} {url.path}", "why": reasons(error)[:2000]})
    print(json.dumps({"version": whole["info"].get("version"), "bad": bad}))


if __name__ == "__main__":
    main()
