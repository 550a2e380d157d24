"""Makes identities of age, and opens its files, with the library of the format's Rust implementation.

Reads one JSON object from stdin:

  {"do": "generate"}                                       prints {"identity", "recipient"}
  {"do": "open", "identity": "AGE-SECRET-KEY-1…", "file": BASE64}     prints what is in it
"""

import base64
import json
import sys

import pyrage


def generate(_):
    identity = pyrage.x25519.Identity.generate()
    return json.dumps({"identity": str(identity), "recipient": str(identity.to_public())})


def opened(asked):
    identity = pyrage.x25519.Identity.from_str(asked["identity"])
    return pyrage.decrypt(base64.b64decode(asked["file"], validate=True), [identity]).decode()


if __name__ == "__main__":
    question = json.load(sys.stdin)
    print({"generate": generate, "open": opened}[question["do"]](question))
