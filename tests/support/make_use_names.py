"""Writes src/review/audit/rules/use_names.txt: the names by which AWS records a use that are not the prefix of the actions.

  pip install botocore==1.43.11 && python make_use_names.py > ../../src/review/audit/rules/use_names.txt
"""

import pathlib

import botocore.session

ROOT = pathlib.Path(__file__).parents[2]
# What neither name of the service model leads to.
BY_HAND = {
    "awsssoportal": "sso",
    "portal.sso": "sso",
    "cloudcontrol": "cloudformation",
    "cloudcontrolapi": "cloudformation",
    "data.iotevents": "iotevents",
    "email-smtp": "ses",
    "ioteventsdata": "iotevents",
    "iotevents-data": "iotevents",
    "data-ats.iot": "iot",
    "data.jobs.iot": "iot",
    "iot-data": "iot",
    "iot-jobs-data": "iot",
    "iotdata": "iot",
    "monitoring": "cloudwatch",
    "mturk": "mechanicalturk",
    "mturk-requester": "mechanicalturk",
    "oidc": "sso-oauth",
    "resourcegroupstaggingapi": "tag",
    "s3-website": "s3",
    "s3v4": "s3",
    "ses-smtp": "ses",
    "signin": "signin",
    "tagging": "tag",
}
HEAD = """\
# The names by which IAM and CloudTrail record a use, where they are not the prefix of the actions: NAME PREFIX.
#
# Made by tests/support/make_use_names.py from the service models of botocore 1.43.11 (Apache-2.0 licence): names of
# services, of endpoints and of signatures; and by hand the SMTP endpoint of SES, which is no service of the SDKs.
"""

table = (ROOT / "src/review/policy/actions.txt").read_text().splitlines()
prefixes = {line.split(" ")[0][1:] for line in table if line.startswith("@")}
session = botocore.session.get_session()
names = {name: prefix for name, prefix in BY_HAND.items() if name not in prefixes}
for service in session.get_available_services():
    model = session.get_service_model(service).metadata
    every = [model.get("signingName") or model["endpointPrefix"], model["endpointPrefix"], service]
    every = [name.lower() for name in every]
    known = next((name for name in every if name in prefixes), None) or next(
        (BY_HAND[name] for name in every if name in BY_HAND), None
    )
    for name in every:
        if known and name not in prefixes:
            names.setdefault(name, known)
print(HEAD, end="")
for name, prefix in sorted(names.items()):
    assert prefix in prefixes, (name, prefix)
    print(name, prefix)
