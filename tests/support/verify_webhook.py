"""Checks what keyround sent with implementations that are not its own.

Reads one JSON object from stdin and prints what it found:

  {"check": "hmac", "secret": "whsec_…", "headers": {…}, "body": "…"}
      the reference implementation of Standard Webhooks verifies the message; prints its type
  {"check": "ed25519", "public_key": BASE64, "headers": {…}, "body": "…"}
      the reference knows no v1a, so libsodium (PyNaCl) verifies the signature; prints the message's type
  {"check": "sealed_box", "secret_key": BASE64, "sealed": BASE64}
      libsodium opens the box; prints what is in it
"""

import base64
import json
import sys

import nacl.public
import nacl.signing
import standardwebhooks


def hmac(asked):
    return standardwebhooks.Webhook(asked["secret"]).verify(asked["body"], asked["headers"])["type"]


def ed25519(asked):
    headers, body = asked["headers"], asked["body"]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    key = nacl.signing.VerifyKey(base64.b64decode(asked["public_key"]))
    [signature] = [
        entry.removeprefix("v1a,") for entry in headers["webhook-signature"].split(" ") if entry.startswith("v1a,")
    ]
    key.verify(signed, base64.b64decode(signature, validate=True))
    return json.loads(body)["type"]


def sealed_box(asked):
    key = nacl.public.PrivateKey(base64.b64decode(asked["secret_key"]))
    return nacl.public.SealedBox(key).decrypt(base64.b64decode(asked["sealed"], validate=True)).decode()


if __name__ == "__main__":
    question = json.load(sys.stdin)
    print({"hmac": hmac, "ed25519": ed25519, "sealed_box": sealed_box}[question["check"]](question))
