"""Checks what keyround sent with implementations that are not its own.

Reads one JSON object from stdin and prints what it found:

  {"check": "hmac", "secret": "whsec_…", "headers": {…}, "body": "…"}
      the reference implementation of Standard Webhooks verifies the message, and so does Svix's, whose scheme it
      comes from; prints its type
  {"check": "ed25519", "public_key": BASE64, "headers": {…}, "body": "…"}
      neither knows v1a, so libsodium (PyNaCl) and OpenSSL (cryptography) verify the signature; prints the message's
      type
  {"check": "sealed_box", "secret_key": BASE64, "sealed": BASE64}
      libsodium opens the box; prints what is in it
"""

import base64
import json
import sys

import nacl.public
import nacl.signing
import standardwebhooks
import svix.webhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def hmac(asked):
    verified = standardwebhooks.Webhook(asked["secret"]).verify(asked["body"], asked["headers"])
    svix.webhooks.Webhook(asked["secret"]).verify(asked["body"], asked["headers"])
    return verified["type"]


def ed25519(asked):
    headers, body = asked["headers"], asked["body"]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    public = base64.b64decode(asked["public_key"])
    [signature] = [
        entry.removeprefix("v1a,") for entry in headers["webhook-signature"].split(" ") if entry.startswith("v1a,")
    ]
    signature = base64.b64decode(signature, validate=True)
    nacl.signing.VerifyKey(public).verify(signed, signature)
    Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    return json.loads(body)["type"]


def sealed_box(asked):
    key = nacl.public.PrivateKey(base64.b64decode(asked["secret_key"]))
    return nacl.public.SealedBox(key).decrypt(base64.b64decode(asked["sealed"], validate=True)).decode()


if __name__ == "__main__":
    question = json.load(sys.stdin)
    print({"hmac": hmac, "ed25519": ed25519, "sealed_box": sealed_box}[question["check"]](question))
