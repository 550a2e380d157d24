"""Plays the holders of key pairs: signs GetCallerIdentity with each, by AWS's own Python SDK.

Reads {"url": "http://…", "pairs": [[access_key_id, secret_access_key], …]} from stdin and prints a JSON list: the ARN
that each pair signs as, or the code of AWS's refusal.
"""

import json
import sys

import botocore.exceptions
import botocore.session


def arn(url, access_key_id, secret_access_key):
    session = botocore.session.Session()
    sts = session.create_client("sts", region_name="us-east-1", endpoint_url=url, aws_access_key_id=access_key_id,
                                aws_secret_access_key=secret_access_key)
    try:
        return sts.get_caller_identity()["Arn"]
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]


asked = json.load(sys.stdin)
print(json.dumps([arn(asked["url"], *pair) for pair in asked["pairs"]]))
