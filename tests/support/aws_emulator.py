"""IAM, STS, Secrets Manager, SSM and SNS for the tests: moto's answers, with AWS's strictness and with faults on order.

What AWS says and remembers is moto's (one release of it, pinned). This wrapper adds, on the same port,

  * what moto is too kind about: unknown, inactive and deleted keys, wrong signatures, vendors that call IAM, and a
    missing or wrong external id are refused, in AWS's words; answers come in pages; of several uses of a key within
    15 minutes only the first is recorded;
  * a side door under /_test/ (JSON in, JSON out, unsigned) for the test: see `Control`.

It listens on a free port, prints its number, and ends when its standard input does: it never outlives the test.
The bootstrap identity "testing"/"testing" may do everything; a user's own key may do everything but IAM.
"""

import contextlib
import datetime
import hashlib
import hmac
import http.client
import io
import itertools
import json
import logging
import os
import re
import select
import socket
import sys
import threading
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree

from aws_review import Review
from moto.core.utils import utcnow
from moto.iam import models as iam
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.sns.models import sns_backends
from moto.sts.models import sts_backends
from werkzeug.serving import make_server
from werkzeug.test import create_environ, run_wsgi_app

BOOTSTRAP = {"testing": "testing"}
ACCOUNT = "123456789012"
USES_SEEN_APART = datetime.timedelta(minutes=15)
WAIT_SECS_MAX = 60
READS = re.compile(r"^(Get|List|Describe|Lookup|Simulate|AssumeRole|GenerateCredentialReport|GenerateServiceLastAccessed)")
AUTHORIZATION = re.compile(
    r"Credential=(?P<key>[^/,\s]+)/(?P<date>\d{8})/(?P<region>[^/,]+)/(?P<service>[^/,]+)/aws4_request,\s*"
    r"SignedHeaders=(?P<signed>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]+)"
)


class Call:
    """One request to AWS: what is asked of whom, and who signed it."""

    def __init__(self, environ):
        self.environ = environ
        self.socket = environ.get("werkzeug.socket")
        length = int(environ.get("CONTENT_LENGTH") or 0)
        self.body = environ["wsgi.input"].read(length) if length else b""
        environ["wsgi.input"] = io.BytesIO(self.body)
        self.json = "json" in environ.get("CONTENT_TYPE", "")
        found = AUTHORIZATION.search(environ.get("HTTP_AUTHORIZATION", ""))
        self.auth = found.groupdict() if found else None
        self.service = self.auth["service"] if self.auth else "-"
        self.signer = self.auth["key"] if self.auth else None
        if self.json:
            self.params = json.loads(self.body or b"{}")
            self.operation = environ.get("HTTP_X_AMZ_TARGET", "").rsplit(".", 1)[-1]
        else:
            self.params = dict(urllib.parse.parse_qsl(self.body.decode()))
            self.operation = self.params.get("Action", "?")
        self.action = f"{self.service}:{self.operation}"

    def subject(self):
        """Whom it is about: the user (for a probe, the user who signed it), path, role, secret or parameter."""
        for name in ("UserName", "PathPrefix", "RoleArn", "SecretId", "Name"):
            if name in self.params:
                return self.params[name]
        asked = next((row["AttributeValue"] for row in self.params.get("LookupAttributes", [])), None)
        key = find_key(self.params.get("AccessKeyId") or asked or self.signer)[1]
        return key.user_name if key else None

    def mutating(self):
        return not READS.match(self.operation)


class Rule:
    """What to do to calls that match, instead of just answering them.

    kind   close: hang up without an answer · hang: stay silent · error: answer with `code` and `status` ·
           answer: answer `status` with `body` as it is · pause: wait for release · page: `size` rows at a time
    when   before: nothing is done · after: it is done, and only the answer suffers
    action iam:CreateAccessKey, or "*", or "mutating"; `subject` and `signer` narrow it
    skip, count  let the first `skip` pass, then apply to `count`
    """

    def __init__(self, number, spec):
        self.number = number
        self.spec = {"action": "*", "subject": None, "signer": None, "when": "before", "skip": 0, "count": 1, **spec}
        self.skip, self.left, self.hits = self.spec["skip"], self.spec["count"], 0
        self.changed, self.released, self.proceed = threading.Condition(), threading.Event(), True

    def takes(self, call):
        spec = self.spec
        named = spec["action"] in ("*", call.action) or (spec["action"] == "mutating" and call.mutating())
        theirs = spec["subject"] in (None, call.subject()) and spec["signer"] in (None, call.signer)
        if not (named and theirs) or self.left == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.left -= 1
        return True

    def hit(self):
        with self.changed:
            self.hits += 1
            self.changed.notify_all()

    def wait_for_hit(self, secs):
        with self.changed:
            self.changed.wait_for(lambda: self.hits, min(secs, WAIT_SECS_MAX))
            return self.hits


class HangUp(Exception):
    """The connection is closed without an answer."""


class Emulator:
    """The WSGI application."""

    def __init__(self):
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.moto_lock, self.rules_lock = threading.Lock(), threading.Lock()
        self.rules, self.rule_numbers = [], itertools.count(1)
        self.calls, self.deleted, self.external_ids = [], [], {}
        self.latency_secs, self.under_way, self.under_way_lock = 0.0, 0, threading.Lock()
        self.review = Review()
        self.control = Control(self)

    def __call__(self, environ, start):
        if environ["PATH_INFO"].startswith("/_test/"):
            status, kind, body = self.control.answer(environ)
        else:
            call = Call(environ)
            try:
                with self.counted() as at_once:
                    status, kind, body = self.perform(call, at_once)
            except HangUp:
                start("200 OK", [])
                call.socket.shutdown(socket.SHUT_RDWR)
                return []
        start(f"{status} {http.client.responses[status]}", [
            ("Content-Type", kind), ("Content-Length", str(len(body))), ("x-amzn-RequestId", request_id())])
        return [body]

    @contextlib.contextmanager
    def counted(self):
        """Gives how many calls are under way, this one included."""
        with self.under_way_lock:
            self.under_way += 1
            at_once = self.under_way
        try:
            yield at_once
        finally:
            with self.under_way_lock:
                self.under_way -= 1

    def perform(self, call, at_once):
        time.sleep(self.latency_secs)
        entry = {"action": call.action, "signer": call.signer, "subject": call.subject(), "mutating": call.mutating(),
                 "access_key_id": call.params.get("AccessKeyId"), "region": call.auth and call.auth["region"],
                 "user_agent": call.environ.get("HTTP_USER_AGENT", ""), "status": None, "done": False,
                 "at_once": at_once, "connection": call.environ.get("REMOTE_PORT"), "arrived_at": time.time()}
        self.calls.append(entry)
        spoiled = self.spoil(call, "before", None)
        if spoiled is None:
            spoiled = self.refuse(call)
        if spoiled is None:
            answer = self.review.answer(call, self.ask_moto) or self.ask_moto(call)
            entry["done"] = answer[0] < 400
            if entry["done"] and find_key(call.signer)[1]:
                self.review.post_review_origin(call.signer, "127.0.0.1", entry["user_agent"], call.action)
            spoiled = self.spoil(call, "after", answer) or answer
        entry["status"] = spoiled[0]
        return spoiled

    def spoil(self, call, when, answer):
        """Applies the first rule that takes the call. Gives the answer to send, or None."""
        with self.rules_lock:
            matching = (rule for rule in self.rules if rule.spec["when"] == when and rule.takes(call))
            rule = next(matching, None)
        if rule is None:
            return None
        kind = rule.spec["kind"]
        rule.hit()
        if kind == "close":
            raise HangUp
        if kind == "hang":
            wait_for_hang_up(call.socket, rule.released)
            raise HangUp
        if kind == "pause":
            rule.released.wait(WAIT_SECS_MAX)
            if not rule.proceed:
                raise HangUp
            return None
        if kind == "error":
            return refusal(call, rule.spec["status"], rule.spec["code"], "ordered by the test")
        if kind == "answer":
            return rule.spec["status"], rule.spec.get("content_type", "text/xml"), rule.spec["body"].encode()
        if kind == "page":
            return answer[0], answer[1], page(answer[2], call.params.get("Marker"), rule.spec["size"])
        raise ValueError(kind)

    def refuse(self, call):
        """What AWS refuses before it looks at the call. None: go on."""
        code, message, user = authenticate(call)
        if code:
            return refusal(call, 403, code, message)
        if user and call.service == "iam":
            return refusal(call, 403, "AccessDenied", f"User: {user} is not authorized to perform: {call.action}")
        if call.operation == "AssumeRole":
            role = call.params["RoleArn"]
            wanted = self.external_ids.get(role, False)
            if wanted is False or (wanted is not None and wanted != call.params.get("ExternalId")):
                message = f"User: {call.signer} is not authorized to perform: sts:AssumeRole on resource: {role}"
                return refusal(call, 403, "AccessDenied", message)
        return None

    def ask_moto(self, call):
        """The effect itself. One at a time: moto's limits are not checked atomically."""
        with self.moto_lock:
            signing = find_key(call.signer)[1]
            used_before = signing.last_used if signing else None
            touched = find_key(call.params.get("AccessKeyId"))[1]
            body, status, headers = run_wsgi_app(self.moto, call.environ, buffered=True)
            if used_before and utcnow() - used_before.timestamp < USES_SEEN_APART:
                signing.last_used = used_before
            if call.operation == "DeleteAccessKey" and touched and find_key(touched.access_key_id)[1] is None:
                self.deleted.append({**shown(touched), "status": "Deleted"})
        return int(status.split()[0]), headers["Content-Type"], b"".join(body)

    def ask_as_bootstrap(self, service, target, params, account=ACCOUNT):
        """A JSON call of our own, past the checks, to prepare what a test needs."""
        scope = f"Credential=testing/20260101/us-east-1/{service}/aws4_request"
        signed = f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"
        environ = create_environ("/", method="POST", data=json.dumps(params), content_type="application/x-amz-json-1.1",
                                 headers={"X-Amz-Target": target, "Authorization": signed,
                                          "x-moto-account-id": account})
        with self.moto_lock:
            body, status, _ = run_wsgi_app(self.moto, environ, buffered=True)
        if not status.startswith("200"):
            raise ValueError(b"".join(body).decode())


class Control:
    """The side door. `METHOD /_test/WORD[/NUMBER]`; the body's members are the arguments.

    POST users    name, path, account, age_days: a user, with one key of that age unless it is null
    POST keys     access_key_id (or user: one more key), and any of age_days, used_days_ago (with service), status
    GET  keys     every key, secrets included, deleted ones too
    POST roles    arn, external_id: a role that can be assumed, with that external id (null: without one)
    POST secrets  name, value, account (Secrets Manager) · POST parameters  name, value (SSM, SecureString)
    POST topics   name: an SNS topic; gives its ARN · GET published  what was published to topics
    GET  calls    in order of arrival · DELETE calls
    POST rules    see `Rule`; gives its number · DELETE rules  forget all, release all
    GET  rules/N?wait=SECS  hits, once there is one
    POST release/N  proceed: whoever is paused there goes on, or is hung up on
    POST latency  secs: added to each call
    POST review_…  see `aws_review`
    """

    def __init__(self, emulator):
        self.emulator = emulator

    def answer(self, environ):
        word, _, number = environ["PATH_INFO"].removeprefix("/_test/").partition("/")
        length = int(environ.get("CONTENT_LENGTH") or 0)
        arguments = json.loads(environ["wsgi.input"].read(length)) if length else {}
        query = dict(urllib.parse.parse_qsl(environ.get("QUERY_STRING", "")))
        if number:
            arguments = {"number": int(number), **arguments, **query}
        try:
            name = f"{environ['REQUEST_METHOD'].lower()}_{word}"
            result = getattr(self if hasattr(self, name) else self.emulator.review, name)(**arguments)
            return 200, "application/json", json.dumps(result).encode()
        except Exception as error:  # the test shows it
            return 400, "application/json", json.dumps({"error": repr(error)}).encode()

    def post_users(self, name, path="/", account=ACCOUNT, age_days=None):
        backend = iam.iam_backends[account]["aws"]
        backend.create_user("us-east-1", name, path)
        if age_days is None:
            return None
        key = backend.create_access_key(name)
        key.create_date = days_ago(age_days)
        return shown(key)

    def post_keys(self, access_key_id=None, user=None, age_days=None, used_days_ago=None, service="s3", status=None):
        key = find_key(access_key_id)[1] if access_key_id else iam.iam_backends[ACCOUNT]["aws"].create_access_key(user)
        if age_days is not None:
            key.create_date = days_ago(age_days)
        if used_days_ago is not None:
            key.last_used = iam.AccessKeyLastUsed(days_ago(used_days_ago), service, "us-east-1")
        if status is not None:
            key.status = status
        return shown(key)

    def get_keys(self):
        backends = [partitions["aws"] for partitions in list(iam.iam_backends.values())]
        living = [shown(key) for backend in backends for key in list(backend.access_keys.values()) if key.user_name]
        return living + self.emulator.deleted

    def post_roles(self, arn, external_id=None):
        self.emulator.external_ids[arn] = external_id

    def post_secrets(self, name, value, account=ACCOUNT):
        secret = {"Name": name, "SecretString": value}
        self.emulator.ask_as_bootstrap("secretsmanager", "secretsmanager.CreateSecret", secret, account)

    def post_parameters(self, name, value):
        parameter = {"Name": name, "Value": value, "Type": "SecureString"}
        self.emulator.ask_as_bootstrap("ssm", "AmazonSSM.PutParameter", parameter)

    def post_topics(self, name):
        return sns_backends[ACCOUNT]["us-east-1"].create_topic(name).arn

    def get_published(self):
        topics = sns_backends[ACCOUNT]["us-east-1"].topics.values()
        sent = [notification for topic in topics for notification in topic.sent_notifications]
        return [{"message": message, "subject": subject, "attributes": attributes}
                for _, message, subject, attributes, *_ in sent]

    def get_calls(self):
        return self.emulator.calls

    def delete_calls(self):
        self.emulator.calls = []

    def post_rules(self, **spec):
        with self.emulator.rules_lock:
            rule = Rule(next(self.emulator.rule_numbers), spec)
            self.emulator.rules.append(rule)
        return rule.number

    def delete_rules(self):
        with self.emulator.rules_lock:
            rules, self.emulator.rules = self.emulator.rules, []
        for rule in rules:
            rule.released.set()

    def get_rules(self, number, wait="0"):
        return self.rule(number).wait_for_hit(float(wait))

    def post_release(self, number, proceed):
        rule = self.rule(number)
        rule.proceed = proceed
        rule.released.set()

    def post_latency(self, secs):
        self.emulator.latency_secs = secs

    def rule(self, number):
        return next(rule for rule in self.emulator.rules if rule.number == number)


def find_key(access_key_id):
    """The backend that has the key, and the key; None twice when there is none."""
    for partitions in list(iam.iam_backends.values()):
        backend = partitions["aws"]
        if access_key_id in backend.access_keys:
            return backend, backend.access_keys[access_key_id]
    return None, None


def shown(key):
    used = key.last_used
    return {"user": key.user_name, "access_key_id": key.access_key_id, "secret_access_key": key.secret_access_key,
            "status": key.status, "created_at": f"{key.create_date:%Y-%m-%dT%H:%M:%SZ}",
            "last_used_at": f"{used.timestamp:%Y-%m-%dT%H:%M:%SZ}" if used else None,
            "service": used.service if used else None}


def days_ago(days):
    return (utcnow() - datetime.timedelta(days=days)).replace(microsecond=0)


def request_id():
    return f"00000000-0000-4000-8000-{next(REQUEST_NUMBERS):012x}"


REQUEST_NUMBERS = itertools.count(1)


def refusal(call, status, code, message):
    """An error as the call's own protocol writes it."""
    if call.json:
        code = {"InvalidClientTokenId": "UnrecognizedClientException", "SignatureDoesNotMatch": "InvalidSignatureException",
                "AccessDenied": "AccessDeniedException", "Throttling": "ThrottlingException"}.get(code, code)
        body = json.dumps({"__type": code, "message": message}).encode()
        return 400 if status < 500 else status, "application/x-amz-json-1.1", body
    kind = "Sender" if status < 500 else "Receiver"
    body = (f"<ErrorResponse><Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            f"<RequestId>{request_id()}</RequestId></ErrorResponse>")
    return status, "text/xml", body.encode()


def authenticate(call):
    """(None, None, ARN of the signing user or None), or the code and words of AWS's refusal."""
    if call.auth is None:
        return "MissingAuthenticationToken", "Request is missing Authentication Token", None
    token = call.environ.get("HTTP_X_AMZ_SECURITY_TOKEN")
    secret, user, wanted_token = BOOTSTRAP.get(call.signer), None, None
    if secret is None:
        backend, key = find_key(call.signer)
        # Never made, mistyped, inactive and deleted are one refusal at AWS.
        if key is None or key.status != "Active":
            return "InvalidClientTokenId", "The security token included in the request is invalid.", None
        secret = key.secret_access_key
        if key.user_name:
            user = backend.get_user(key.user_name).arn
        else:
            sts = sts_backends[backend.account_id]["aws"]
            wanted_token = sts.get_assumed_role_from_access_key(call.signer).session_token
    if token != wanted_token:
        return "InvalidClientTokenId", "The security token included in the request is invalid.", None
    if not hmac.compare_digest(signature(call, secret), call.auth["signature"]):
        message = "The request signature we calculated does not match the signature you provided."
        return "SignatureDoesNotMatch", message, None
    return None, None, user


def signature(call, secret):
    """SigV4 of the request as it arrived."""
    environ, auth = call.environ, call.auth
    cgi_names = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}

    def header(name):
        value = environ.get(cgi_names.get(name, "HTTP_" + name.upper().replace("-", "_")), "")
        return f"{name}:{' '.join(value.split())}\n"

    headers = "".join(header(name) for name in auth["signed"].split(";"))
    request = "\n".join([environ["REQUEST_METHOD"], environ["PATH_INFO"] or "/", environ.get("QUERY_STRING", ""), headers,
                         auth["signed"], hashlib.sha256(call.body).hexdigest()])
    scope = [auth["date"], auth["region"], auth["service"], "aws4_request"]
    text = "\n".join(["AWS4-HMAC-SHA256", environ.get("HTTP_X_AMZ_DATE", ""), "/".join(scope),
                      hashlib.sha256(request.encode()).hexdigest()])
    key = b"AWS4" + secret.encode()
    for part in scope:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def page(answer, marker, size):
    """Cuts moto's one long list into AWS's pages. The marker is the number of rows already seen."""
    root = ElementTree.fromstring(answer)
    namespace = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    ElementTree.register_namespace("", namespace.strip("{}"))
    result = root[0]
    rows = next((part for part in result if part.find(f"{namespace}member") is not None), None)
    if rows is None:
        return answer
    first = int(marker or 0)
    for row in list(rows)[:first] + list(rows)[first + size:]:
        rows.remove(row)
    for stale in result.findall(f"{namespace}IsTruncated") + result.findall(f"{namespace}Marker"):
        result.remove(stale)
    truncated = len(ElementTree.fromstring(answer)[0].find(rows.tag)) > first + size
    ElementTree.SubElement(result, f"{namespace}IsTruncated").text = "true" if truncated else "false"
    if truncated:
        ElementTree.SubElement(result, f"{namespace}Marker").text = str(first + size)
    return ElementTree.tostring(root)


def wait_for_hang_up(connection, released):
    """Silence, until the other side gives up, the test releases it, or a minute has passed."""
    for _ in range(WAIT_SECS_MAX * 20):
        readable, _, _ = select.select([connection], [], [], 0.05)
        if released.is_set() or (readable and not connection.recv(1, socket.MSG_PEEK)):
            return


class Connection(MotoRequestHandler):
    """Kept alive between calls, as AWS does it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_request(self, *_):
        pass

    def run_wsgi(self):
        """Werkzeug's own throws away what follows a request, and closes after each answer."""
        head = []
        body = b"".join(self.server.app(self.make_environ(), lambda *given: head.extend(given)))
        status, headers = head
        if not headers:  # it was hung up on
            self.close_connection = True
            return
        self.send_response(int(status.split()[0]))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def end_with_standard_input():
    sys.stdin.buffer.read()
    os._exit(0)


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, Emulator(), threaded=True, request_handler=Connection)
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
