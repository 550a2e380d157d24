"""Asks parliament, another lint for IAM policies, what it finds. {name: text} in, {name: [issue, …]} out; and, asked for
{"managed": [name, …]}, the texts of AWS's own policies, which come with moto.
"""

import json
import sys

import parliament
from moto.iam.aws_managed_policies import aws_managed_policies_data

question = json.load(sys.stdin)
if "managed" in question:
    policies = json.loads(aws_managed_policies_data)
    print(json.dumps({name: json.dumps(policies[name]["Document"], indent=2) for name in question["managed"]}))
    sys.exit()
answer = {}
for name, text in question.items():
    policy = parliament.analyze_policy_string(text, include_community_auditors=True)
    answer[name] = sorted({finding.issue for finding in policy.findings})
print(json.dumps(answer))
