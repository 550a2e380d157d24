"""A receiver of keyround's webhooks: checks the signature, opens the data, gives back the new pair.

    pip install standardwebhooks pyrage
"""

import base64
import json
import os
import sys

import pyrage
import standardwebhooks


def receive(headers, body, webhook_secret, age_identity):
    message = standardwebhooks.Webhook(webhook_secret).verify(body, headers)  # raises when it is not from keyround
    if message["type"] == "access_key.test":
        return None  # keyround webhook send-test: there is nothing to store, and a 2xx status is the answer
    data = message["data"]
    if "data_encrypted" in data:
        identity = pyrage.x25519.Identity.from_str(age_identity)
        data = json.loads(pyrage.decrypt(base64.b64decode(data["data_encrypted"]), [identity]))
    # headers["webhook-id"] is the same for every repeat of one delivery: what was seen before is only answered again.
    return data["access_key_id"], data["secret_access_key"]


if __name__ == "__main__":
    request = json.load(sys.stdin)
    pair = receive(request["headers"], request["body"], os.environ["WEBHOOK_SECRET"], os.environ["AGE_IDENTITY"])
    print(json.dumps(pair))
