"""What a review asks of AWS and moto does not have, for `aws_emulator.py`: root, the credential report as AWS writes
it, what was used and from where, and trails that fail.

The side door prepares an account with:

  POST review_root   keys, used_days_ago: what root has, and when it was last used
  POST review_quarantine  user, policy, attached: whether AWS's own policy of that name is on the user
  POST review_user   user, and any of policies {name: document}, raw {name: text}, managed {name: document}, group with
                     group_policies, age_days,
                     console_used_days_ago (a password that was used; null: one that was not), mfa
  POST review_role   name, trust, policies, path
  POST review_trail  name, multi_region, validation, logging, management ("All", "ReadOnly", null: none), error,
                     excluded (sources), advanced (field selectors, in place of the rest of what it selects)
  POST review_usage  arn, services [{"service", "used_days_ago", "actions": {name: days ago}}]
  POST review_origin access_key_id, address, agent, and any of call, minutes_ago, error: a call that CloudTrail has on
                     record; calls that a user's key signs here are on record too
"""

import base64
import csv
import datetime
import io
import json
import re
from xml.sax.saxutils import escape

from moto.cloudtrail.models import cloudtrail_backends
from moto.core.utils import utcnow
from moto.iam import models as iam
from moto.s3.models import s3_backends

ACCOUNT = "123456789012"
REGION = "us-east-1"
BUCKET = "trail-of-the-tests"
COLUMNS = (
    "user arn user_creation_time password_enabled password_last_used password_last_changed password_next_rotation mfa_active "
    "access_key_1_active access_key_1_last_rotated access_key_1_last_used_date access_key_1_last_used_region "
    "access_key_1_last_used_service access_key_2_active access_key_2_last_rotated access_key_2_last_used_date "
    "access_key_2_last_used_region access_key_2_last_used_service cert_1_active cert_1_last_rotated cert_2_active "
    "cert_2_last_rotated"
).split()


class Review:
    """Answers the calls that moto cannot, and keeps what they are about."""

    def __init__(self):
        self.root_keys, self.root_used_at = False, None
        self.usage, self.origins, self.delivery_errors = {}, {}, {}

    def answer(self, call, ask_moto):
        """(status, content type, body), or None for what is moto's."""
        spoken = {
            "iam:GetCredentialReport": self.credential_report,
            "iam:GenerateServiceLastAccessedDetails": self.usage_job,
            "iam:GetServiceLastAccessedDetails": self.usage_details,
            "cloudtrail:LookupEvents": self.lookup,
        }
        changed = {"iam:GetAccountSummary": self.summary, "cloudtrail:GetTrailStatus": self.trail_status}
        if call.action in spoken:
            return spoken[call.action](call)
        if call.action in changed:
            status, kind, body = ask_moto(call)
            return status, kind, changed[call.action](call, body)
        return None

    def summary(self, _, body):
        present = rb"(<key>AccountAccessKeysPresent</key>\s*<value>)\d+(</value>)"
        changed, count = re.subn(present, rb"\g<1>" + (b"1" if self.root_keys else b"0") + rb"\g<2>", body)
        assert count == 1, body
        return changed

    def trail_status(self, call, body):
        error = self.delivery_errors.get(call.params["Name"].rsplit("/", 1)[-1])
        return json.dumps({**json.loads(body), **({"LatestDeliveryError": error} if error else {})}).encode()

    def credential_report(self, _):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        used = when(self.root_used_at) if self.root_used_at else "no_information"
        keys = ["true" if self.root_keys else "false"] + ["N/A"] * 4 + ["false"] + ["N/A"] * 4
        writer.writerow(["<root_account>", f"arn:aws:iam::{ACCOUNT}:root", "2020-01-01T00:00:00+00:00", "not_supported",
                         used, "not_supported", "not_supported", "true", *keys, "false", "N/A", "false", "N/A"])
        for user in backend().users.values():
            writer.writerow(row(user))
        content = base64.b64encode(text.getvalue().encode()).decode()
        return xml("GetCredentialReport", f"<Content>{content}</Content><ReportFormat>text/csv</ReportFormat>"
                   f"<GeneratedTime>{utcnow():%Y-%m-%dT%H:%M:%SZ}</GeneratedTime>")

    def usage_job(self, call):
        # A job of AWS's is a number that says nothing; ours is the ARN it is about, in 36 or more letters.
        job = base64.urlsafe_b64encode(call.params["Arn"].encode()).decode().rstrip("=").ljust(36, "-")
        return xml("GenerateServiceLastAccessedDetails", f"<JobId>{job}</JobId>")

    def usage_details(self, call):
        job = call.params["JobId"].rstrip("-")
        arn = base64.urlsafe_b64decode(job + "=" * (-len(job) % 4)).decode()
        services = "".join(service_xml(service) for service in self.usage.get(arn, []))
        now = f"{utcnow():%Y-%m-%dT%H:%M:%SZ}"
        return xml("GetServiceLastAccessedDetails", f"<JobStatus>COMPLETED</JobStatus><JobCreationDate>{now}</JobCreationDate>"
                   f"<JobCompletionDate>{now}</JobCompletionDate><IsTruncated>false</IsTruncated>"
                   f"<ServicesLastAccessed>{services}</ServicesLastAccessed>")

    def lookup(self, call):
        [attribute] = call.params["LookupAttributes"]
        assert attribute["AttributeKey"] == "AccessKeyId", attribute
        events = sorted(self.origins.get(attribute["AttributeValue"], []), key=lambda event: -event["EventTime"])
        return 200, "application/x-amz-json-1.1", json.dumps({"Events": events}).encode()

    def post_review_root(self, keys=False, used_days_ago=None):
        self.root_keys = keys
        self.root_used_at = None if used_days_ago is None else days_ago(used_days_ago)

    def post_review_user(self, user, policies=None, managed=None, group=None, group_policies=None,
                         console_used_days_ago="none", mfa=False, age_days=None, raw=None):
        account, found = backend(), backend().get_user(user)
        for name, document in (policies or {}).items():
            account.put_user_policy(user, name, text_of(document))
        found.policies.update(raw or {})  # as an account may have it that is older than IAM's checks
        for name, document in (managed or {}).items():
            policy = account.create_policy("", "/", text_of(document), name, [])
            account.attach_user_policy(policy.arn, user)
        if group:
            account.create_group(group)
            account.add_user_to_group(group, user)
            for name, document in (group_policies or {}).items():
                account.put_group_policy(group, name, text_of(document))
        if console_used_days_ago != "none":
            account.create_login_profile(user, "a password that nobody knows")
            found.password_last_used = None if console_used_days_ago is None else days_ago(console_used_days_ago)
        if mfa:
            found.enable_mfa_device(f"arn:aws:iam::{ACCOUNT}:mfa/{user}", "123456", "654321")
        if age_days is not None:
            found.create_date = days_ago(age_days)

    def post_review_quarantine(self, user, policy, attached=True):
        """As AWS does it when it has found a key of the user in public; `attached` false: as a person undoes it."""
        account, arn = backend(), f"arn:aws:iam::aws:policy/{policy}"
        if arn not in account.managed_policies:
            deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "iam:CreateUser", "Resource": "*"}]}
            data = {"DefaultVersionId": "v1", "Path": "/", "Document": deny, "CreateDate": "2020-08-11T18:04:20+00:00",
                    "UpdateDate": "2020-08-11T18:04:20+00:00"}
            account.managed_policies[arn] = iam.AWSManagedPolicy.from_data(policy, ACCOUNT, REGION, data)
        (account.attach_user_policy if attached else account.detach_user_policy)(arn, user)

    def post_review_role(self, name, trust, policies=None, path="/"):
        backend().create_role(name, json.dumps(trust), path, None, "", [], None)
        for policy, document in (policies or {}).items():
            backend().put_role_policy(name, policy, text_of(document))

    def post_review_trail(self, name, multi_region=True, validation=True, logging=True, management="All", error=None,
                          excluded=(), advanced=None):
        s3 = s3_backends[ACCOUNT]["aws"]
        if BUCKET not in s3.buckets:
            s3.create_bucket(BUCKET, REGION)
        trails = cloudtrail_backends[ACCOUNT][REGION]
        trails.create_trail(name, BUCKET, "", "", multi_region, multi_region, validation, False, "", "", "", [])
        if logging:
            trails.start_logging(name)
        selector = {"ReadWriteType": management or "All", "IncludeManagementEvents": management is not None,
                    "DataResources": [], "ExcludeManagementEventSources": list(excluded)}
        advanced_selectors = [{"Name": "", "FieldSelectors": advanced}] if advanced else []
        trails.put_event_selectors(name, [] if advanced else [selector], advanced_selectors)
        self.delivery_errors[name] = error

    def post_review_usage(self, arn, services):
        self.usage[arn] = services

    def post_review_origin(self, access_key_id, address, agent, call="ec2:DescribeInstances", minutes_ago=0, error=None):
        service, _, name = call.partition(":")
        found = [key for key in backend().access_keys.values() if key.access_key_id == access_key_id]
        arn = f"arn:aws:iam::{ACCOUNT}:user/{found[0].user_name}" if found else f"arn:aws:iam::{ACCOUNT}:root"
        text = {"userIdentity": {"arn": arn, "accessKeyId": access_key_id}, "sourceIPAddress": address,
                "userAgent": agent, **({"errorCode": error} if error else {})}
        events = self.origins.setdefault(access_key_id, [])
        events.append({"EventId": f"{access_key_id}-{len(events)}", "EventName": name, "AccessKeyId": access_key_id,
                       "EventSource": f"{service}.amazonaws.com", "CloudTrailEvent": json.dumps(text),
                       "EventTime": utcnow().timestamp() - 60 * minutes_ago})


def backend():
    return iam.iam_backends[ACCOUNT]["aws"]


def text_of(document):
    return document if isinstance(document, str) else json.dumps(document)


def days_ago(days):
    return (utcnow() - datetime.timedelta(days=days)).replace(microsecond=0)


def when(time):
    return f"{time:%Y-%m-%dT%H:%M:%S}+00:00"


def row(user):
    """A user's line. A key that is not active has no date of rotation, and its slot does not show that it is there."""
    slots = []
    for number in range(2):
        key = user.access_keys[number] if number < len(user.access_keys) else None
        active = bool(key) and key.status == "Active"
        used = key.last_used if key else None
        slots += ["true" if active else "false", when(key.create_date) if active else "N/A"]
        slots += [when(used.timestamp), used.region, used.service] if used else ["N/A"] * 3
    has_password = bool(user.password)
    last = user.password_last_used
    used = (when(last) if last else "no_information") if has_password else "N/A"
    changed = when(user.create_date) if has_password else "N/A"
    return [user.name, user.arn, when(user.create_date), str(has_password).lower(), used, changed, "N/A",
            str(bool(user.mfa_devices)).lower(), *slots, "false", "N/A", "false", "N/A"]


def service_xml(service):
    def time(tag, days):
        return "" if days is None else f"<{tag}>{days_ago(days):%Y-%m-%dT%H:%M:%SZ}</{tag}>"

    actions = "".join(f"<member><ActionName>{escape(name)}</ActionName>{time('LastAccessedTime', days)}</member>"
                      for name, days in service.get("actions", {}).items())
    name = escape(service["service"])
    return (f"<member><ServiceName>{name}</ServiceName><ServiceNamespace>{name}</ServiceNamespace>"
            f"{time('LastAuthenticated', service.get('used_days_ago'))}<TotalAuthenticatedEntities>1</TotalAuthenticatedEntities>"
            f"<TrackedActionsLastAccessed>{actions}</TrackedActionsLastAccessed></member>")


def xml(operation, result):
    body = (f'<{operation}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><{operation}Result>{result}'
            f"</{operation}Result><ResponseMetadata><RequestId>00000000-0000-4000-8000-000000000000</RequestId>"
            f"</ResponseMetadata></{operation}Response>")
    return 200, "text/xml", body.encode()
