"""The result of a run as JUnit XML, one test case per condition of the rule: what CI systems show as tests."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from engine.runs.more_prompts import needed_prompts
from engine.runs.report import Report

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report, name: str, reason: str) -> bytes:
    """The file's bytes.

    Args:
        name: of the run.
        reason: why the gate is open or closed, one line.
    """
    suite = ElementTree.Element("testsuite", name=_plain(f"redraft gate {name}"))
    _properties(suite, report)
    outcome = ElementTree.SubElement(suite, "testcase", classname="redraft.gate", name="outcome")
    failures = skipped = 0
    if not report.passed:
        ElementTree.SubElement(outcome, "failure", message=_plain(reason), type=_plain(report.outcome))
        failures += 1
    for condition in report.conditions:
        case = ElementTree.SubElement(suite, "testcase", classname="redraft.gate.rule", name=_plain(condition.id))
        if condition.met:
            ElementTree.SubElement(case, "system-out").text = _plain(condition.detail)
            continue
        detail = "; ".join(filter(None, [condition.detail.rstrip("."), needed_prompts(report, condition)]))
        if condition.needed:
            ElementTree.SubElement(case, "failure", message=_plain(detail), type="not met")
            failures += 1
        else:
            ElementTree.SubElement(case, "skipped", message=_plain(detail))
            skipped += 1
    suite.set("tests", str(1 + len(report.conditions)))
    suite.set("failures", str(failures))
    suite.set("skipped", str(skipped))
    suite.set("errors", "0")
    suite.set("time", f"{report.seconds or 0:.1f}")
    root = ElementTree.Element("testsuites")
    root.append(suite)
    body: bytes = ElementTree.tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + body


def _properties(suite: ElementTree.Element, report: Report) -> None:
    score = report.score
    known = {
        "outcome": report.outcome,
        "judge": " · ".join(filter(None, [report.judge, report.accuracy])),
        "generator": report.generator,
        "constitution": report.constitution,
        "score.base": score and score.base,
        "score.trained": score and score.trained,
        "score.n": score and score.n,
    }
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in known.items():
        if value is not None and value != "":
            ElementTree.SubElement(properties, "property", name=name, value=_plain(str(value)))


def _plain(text: str) -> str:
    """The text without what XML cannot hold."""
    return _NOT_XML.sub("", text)
