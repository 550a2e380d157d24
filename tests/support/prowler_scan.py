"""Asks Prowler what it finds in the emulator's account. {"endpoint": url, "checks": [name, ...]} in, a list of
{"check", "status", "subject", "sentence"} out.

Prowler imports the SDKs of every cloud it knows, a gigabyte of them, before it asks AWS anything. Those are stood in for
here: a name of theirs is a class without a use. Prowler itself, its rules and its calls to AWS, are as they are.
"""

import contextlib
import csv
import importlib.abc
import importlib.machinery
import json
import os
import pathlib
import sys
import tempfile
import types

ELSEWHERE = ("alibabacloud_", "google", "kubernetes", "slack_sdk", "stackit")


class Anything(type):
    """A class that has whatever is looked for in it, and that any model takes for a type."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name, (Exception,), {})

    def __get_pydantic_core_schema__(cls, *_):
        return {"type": "any"}


class Elsewhere(types.ModuleType):
    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name, (Exception,), {})


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        named = name.split(".")[0].startswith(ELSEWHERE)
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if named else None

    def create_module(self, spec):
        return Elsewhere(spec.name)

    def exec_module(self, module):
        pass


def scan(checks, folder):
    from prowler.__main__ import prowler

    sys.argv = ["prowler", "aws", "--region", "us-east-1", "eu-west-1", "--check", *checks, "--no-banner", "--no-color",
                "--output-formats", "csv", "--output-directory", folder, "--output-filename", "found",
                "--ignore-exit-code-3", "--log-level", "CRITICAL"]
    with contextlib.redirect_stdout(sys.stderr):
        try:
            prowler()
        except SystemExit as ended:
            assert not ended.code, ended.code
    [found] = pathlib.Path(folder).glob("*.csv")
    with found.open(newline="") as lines:
        return list(csv.DictReader(lines, delimiter=";"))


question = json.load(sys.stdin)
os.environ.update(
    AWS_ENDPOINT_URL=question["endpoint"], AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing",
    AWS_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE="/dev/null",
    AWS_SHARED_CREDENTIALS_FILE="/dev/null", AWS_MAX_ATTEMPTS="1",
)
sys.meta_path.append(Finder())
with tempfile.TemporaryDirectory() as folder:
    os.environ["HOME"] = folder
    rows = scan(question["checks"], folder)
print(json.dumps([{"check": row["CHECK_ID"], "status": row["STATUS"], "subject": row["RESOURCE_UID"] or row["RESOURCE_ID"],
                   "sentence": row["STATUS_EXTENDED"]} for row in rows]))
