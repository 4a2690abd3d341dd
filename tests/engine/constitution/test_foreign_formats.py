"""Constitutions that other projects write: no principle is merged or lost, and each shape is read or named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.constitution.load import load
from engine.constitution.model import Constitution
from engine.errors import InputError


def loaded(folder: Path, content: Any, name: str = "c.json") -> Constitution:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return load(path)


def entry(number: int) -> dict[str, str]:
    return {"prompt": f"Is it bad {number}?", "edit_request": f"Make it good {number}."}


@pytest.mark.parametrize(
    "names",
    [
        ["公平", "诚实"],
        ["Честность", "Равенство", "Забота"],
        ["العدالة", "الصدق"],
        ["公平", "fairness", "公平 fairness"],
        ["🙂", "🙃"],
        ["a b", "a.b!", "a/b", "a+b"],
        ["!", "?", "1", "2"],
        ["Équité", "Equite"],
        ["x" * 80 + "a", "x" * 80 + "b"],
    ],
)
def test_every_name_in_any_script_is_a_principle_with_its_own_id(tmp_path: Path, names: list[str]) -> None:
    made = loaded(tmp_path, {name: entry(number) for number, name in enumerate(names)})
    assert len(made.principles) == len(set(made.ids)) == len(names)
    assert all(principle.id.isascii() and principle.id and principle.short for principle in made.principles)
    assert [principle.critiques for principle in made.principles] == [
        (f"Is it bad {number}?",) for number in range(len(names))
    ]


def test_titles_keep_their_script(tmp_path: Path) -> None:
    made = loaded(tmp_path, {"公平": entry(0), "诚实": entry(1)})
    assert [(principle.title, principle.short) for principle in made.principles] == [("公平", "公平"), ("诚实", "诚实")]


def test_numbered_names_of_other_scripts_are_one_principle(tmp_path: Path) -> None:
    made = loaded(tmp_path, {"公平0": entry(0), "公平1": entry(1), "诚实0": entry(2)})
    assert [len(principle.critiques) for principle in made.principles] == [2, 1]


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", ["c.json", "c.txt", "c"])
def test_llm_swarm_s_list_is_read(tmp_path: Path, wrapped: bool, name: str) -> None:
    entries = [{"critic": f"Is it bad {n}?", "revision": f"Make it good {n}."} for n in range(3)]
    made = loaded(tmp_path, {"constitutions": entries, "system_chats": [["x"]]} if wrapped else entries, name)
    assert made.ids == ("principle_1", "principle_2", "principle_3")
    assert made.principles[1].critiques == ("Is it bad 1?",)
    assert made.principles[1].revisions == ("Make it good 1.",)
    assert made.principles[1].title == "Is it bad 1?"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (["Be honest.", "Be kind."], "c.json"),
        ([{"statement": "Be honest."}, {"statement": "Be kind."}], "c.json"),
        ([{"principle": "Be honest.", "name": "Honesty"}, {"principle": "Be kind."}], "c.json"),
        ("statement\nBe honest.\nBe kind.\n", "c.csv"),
        ("Be honest.\nBe kind.\n", "c.csv"),
    ],
)
def test_lists_of_statements_are_read(tmp_path: Path, content: Any, name: str) -> None:
    made = loaded(tmp_path, content, name)
    assert [principle.description for principle in made.principles] == ["Be honest.", "Be kind."]
    assert all('"Be ' in request for p in made.principles for request in (*p.critiques, *p.revisions))


MARKDOWN = """# A constitution

## Honesty
The model should say only
what it holds to be true.

- Not even white lies.

## Avoiding harm
The model should not help with attacks on people.

```
# not a heading
```
"""


@pytest.mark.parametrize("name", ["claude.md", "claude.txt", "claude"])
def test_each_heading_of_markdown_with_text_is_a_principle(tmp_path: Path, name: str) -> None:
    made = loaded(tmp_path, MARKDOWN, name)
    assert [(p.id, p.title) for p in made.principles] == [("honesty", "Honesty"), ("avoiding_harm", "Avoiding harm")]
    assert made.principles[0].description.endswith("what it holds to be true. - Not even white lies.")
    assert "# not a heading" in made.principles[1].description


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ("Just words.\n", "c.md", None),
        ("# Only\n## Headings\n", "c.md", "Markdown document without a heading"),
        ("## Long\n" + "word " * 2000, "c.md", "at most 3,900"),
        ("- a: b\n", "c.yaml", "no requests and no statement"),
        ("a: [b\n", "c.yaml", "not valid YAML"),
        ("just words\n", "c.yml", "not a constitution"),
        ([{"critic": "x"}], "c.json", "no requests and no statement"),
        ([{"critic": "x", "revision": "y", "weight": 3}], "c.json", 'Unknown key "weight"'),
        (["a", 3], "c.json", "neither an object nor a text"),
        (["a"] * 257, "c.json", "257 principles; at most 256"),
        ("statement,votes\nBe kind.,3\n", "c.csv", "not: votes"),
        ("a,b\n1,2\n", "c.csv", "No column is named statement"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_shape(tmp_path: Path, content: Any, name: str, words: str | None) -> None:
    if words is None:
        assert len(loaded(tmp_path, content, name).principles) == 1
        return
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, content, name)
    assert words in str(caught.value)
    assert caught.value.next_step


@pytest.mark.parametrize(
    "names",
    [["Principle 1", "Principle 2"], ["rule1", "rule2"], ["Harm", "HARM"], ["fair-ness", "fair_ness", "fair ness"]],
)
def test_names_that_say_only_a_number_or_differ_in_more_stay_apart(tmp_path: Path, names: list[str]) -> None:
    made = loaded(tmp_path, {name: entry(number) for number, name in enumerate(names)})
    assert len(set(made.ids)) == len(names)
    assert made.notices == ()


def test_entries_joined_by_their_number_are_counted_in_a_notice(tmp_path: Path) -> None:
    (notice,) = loaded(tmp_path, {f"harmful{number}": entry(number) for number in range(3)}).notices
    assert "3 entries" in notice
    assert "harmful" in notice


@pytest.mark.parametrize(
    ("text", "name", "descriptions"),
    [
        ("1. Be nice.\n2. Do not lie.\n", "c.md", ["Be nice.", "Do not lie."]),
        ("One\n===\nBe nice.\n\nTwo\n---\nDo not lie.\n", "c.md", ["Be nice.", "Do not lie."]),
        ("---\ntitle: x\n---\n# One\nBe nice.\n", "c.md", ["Be nice."]),
        ('{"statement": "Be nice."}\n{"statement": "Do not lie."}\n', "c.jsonl", ["Be nice.", "Do not lie."]),
        (json.dumps({"principles": ["Be nice.", "Do not lie."]}), "c.json", ["Be nice.", "Do not lie."]),
        ('statement\n"Be nice, always"\n\n  \nDo not lie\n', "c.csv", ["Be nice, always", "Do not lie"]),
    ],
)
def test_each_statement_of_other_layouts_is_a_principle(
    tmp_path: Path, text: str, name: str, descriptions: list[str]
) -> None:
    assert [principle.description for principle in loaded(tmp_path, text, name).principles] == descriptions


def test_headings_without_text_are_named(tmp_path: Path) -> None:
    made = loaded(tmp_path, "## One\nBe nice.\n\n## Later\n", "c.md")
    assert len(made.principles) == 1
    assert "Later" in made.notices[0]


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ("statement\nBe nice, always\n", "c.csv", "line 2: The row has 2 cells, the header 1"),
        ("statement;id\nBe nice;1\n", "c.csv", "not: id"),
        ("prompt\nWhat is iron?\nWhat is salt?\n", "c.csv", "No column is named statement"),
        ("Be nice to all.\n", "c.csv", "No column is named statement"),
        ("Be nice.\nDo not lie.\n", "c.txt", "plain text"),
    ],
)
def test_tables_that_would_be_cut_or_mistaken_are_refused(tmp_path: Path, text: str, name: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, text, name)
    assert reason in str(caught.value)


def request(text: str) -> dict[str, str]:
    return {"prompt": text, "edit_request": text}


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["policy 2023", "policy 2024"], ["policy_2023", "policy_2024"]),
        (["GPT-3", "GPT-4"], ["gpt-3", "gpt-4"]),
        (["rule 1.1", "rule 1.2"], ["rule_1.1", "rule_1.2"]),
        (["\U0001f642", "\U0001f525"], ["principle_1", "principle_2"]),
        (["harm0", "harm_1", "harm 12"], ["harm"]),
    ],
)
def test_only_a_count_at_the_end_of_a_name_joins_entries(tmp_path: Path, names: list[str], ids: list[str]) -> None:
    made = loaded(tmp_path, {name: request(name) for name in names}, "c.json")
    assert [principle.id for principle in made.principles] == ids


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"Honesty": "Do not lie.", "Harm": "Do no harm."}, "c.json"),
        ({"principles": {"Honesty": "Do not lie.", "Harm": "Do no harm."}}, "c.json"),
        (
            [{"title": "Honesty", "description": "Do not lie."}, {"title": "Harm", "description": "Do no harm."}],
            "c.json",
        ),
        ("**Honesty.** Do not lie.\n\n**Harm:** Do no harm.\n", "c.md"),
        ("<!-- draft\nof May -->\n## Honesty\nDo not lie.\n<!-- more -->\n## Harm\nDo no harm.\n", "c.md"),
    ],
)
def test_named_statements_are_read(tmp_path: Path, content: Any, name: str) -> None:
    made = loaded(tmp_path, content, name)
    assert [(one.id, one.description) for one in made.principles] == [
        ("honesty", "Do not lie."),
        ("harm", "Do no harm."),
    ]


def test_named_requests_of_chains_are_read(tmp_path: Path) -> None:
    entry = {"critique_request": "Which?", "revision_request": "Anew."}
    (principle,) = loaded(tmp_path, {"harmful1": entry, "harmful2": entry}, "c.json").principles
    assert (principle.id, principle.critiques, principle.revisions) == ("harmful", ("Which?",), ("Anew.",))


def test_text_before_the_first_heading_is_announced_as_a_principle(tmp_path: Path) -> None:
    made = loaded(tmp_path, "Be good.\n## Harm\nDo no harm.\n", "c.md")
    assert [one.id for one in made.principles] == ["preamble", "harm"]
    assert "Preamble" in made.notices[0]


def test_an_office_document_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "c.docx").write_bytes(b"PK\x03\x04" + bytes(range(200)))
    with pytest.raises(InputError, match="a ZIP archive, as office documents"):
        load(tmp_path / "c.docx")


@pytest.mark.parametrize(
    "content",
    [
        "- Be honest.\n- Be kind.\n",
        "principles:\n  - statement: Be honest.\n  - statement: Be kind.\n",
        "principles: {Honesty: Be honest., Kindness: Be kind.}\n",
    ],
)
def test_the_shapes_of_json_are_read_in_yaml(tmp_path: Path, content: str) -> None:
    made = loaded(tmp_path, content, "c.yaml")
    assert [principle.description for principle in made.principles] == ["Be honest.", "Be kind."]
    assert made.name == "c"


PROMPTFOO = """
description: A shop's assistant
prompts: ["Answer: {{question}}"]
providers: [some:model]
defaultTest:
  assert:
    - {type: llm-rubric, value: Speaks politely., metric: Politeness}
tests:
  - description: Refunds
    vars: {question: Where is my money?}
    assert:
      - {type: llm-rubric, value: Promises no refund.}
      - {type: contains, value: refund}
  - vars: {question: Who are you?}
    assert:
      - type: assert-set
        assert:
          - {type: g-eval, value: [Says that it is a program., Stays short.]}
          - {type: llm-rubric, value: Promises no refund.}
      - {type: llm-rubric, value: "Answers {{question}}."}
"""


def test_each_rubric_of_promptfoo_is_a_principle_once(tmp_path: Path) -> None:
    made = loaded(tmp_path, PROMPTFOO, "promptfooconfig.yaml")
    assert [(one.id, one.description) for one in made.principles] == [
        ("politeness", "Speaks politely."),
        ("refunds", "Promises no refund."),
        ("principle_3", "Says that it is a program."),
        ("principle_4", "Stays short."),
        ("principle_5", "Answers {{question}}."),
    ]
    assert [notice.split(": ", 1)[1] for notice in made.notices] == [
        "5 rubrics of promptfoo's tests are principle drafts.",
        "variables in rubrics are not filled in: Answers {{question}}..",
    ]


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        (
            "# House rules\n\n- Be kind.\n  - Except to robots.\n- Be brief.\n",
            ["Be kind. Except to robots.", "Be brief."],
        ),
        ("# House rules\n\n1. **Kind**: Be kind.\n2. **Brief**: Be brief.\n", ["Kind", "Brief"]),
        ("# House rules\n\n- [ ] Be kind.\n- [x] Be brief.\n", ["Be kind.", "Be brief."]),
        (
            "# House rules\n- [Kind](#kind)\n\n## **Kind** {#kind}\nBe kind.\n\n## `Brief`\nBe brief.\n",
            ["Kind", "Brief"],
        ),
        ("## Kind\nBe kind.\n\n## Brief\nBe brief.\n\n## Picture\n![a picture](x.png)\n", ["Kind", "Brief"]),
    ],
)
def test_lists_below_a_title_are_principles_and_pointers_are_none(tmp_path: Path, text: str, titles: list[str]) -> None:
    assert [one.title for one in loaded(tmp_path, text, "c.md").principles] == titles


def test_a_single_principle_that_holds_a_list_is_announced(tmp_path: Path) -> None:
    made = loaded(tmp_path, "# House rules\nWe keep these:\n\n- Be kind.\n- Be brief.\n", "c.md")
    assert len(made.principles) == 1
    assert "a list or table of 2 lines" in made.notices[0]


def test_a_statement_that_stands_there_twice_counts_once(tmp_path: Path) -> None:
    made = loaded(tmp_path, ["Be kind.", "Be brief.", "Be kind."], "c.json")
    assert [one.title for one in made.principles] == ["Be kind.", "Be brief."]
    assert "repeat an earlier one are left out: 1" in made.notices[0]


def test_text_below_the_title_of_a_document_is_announced_as_a_principle(tmp_path: Path) -> None:
    made = loaded(tmp_path, "# House rules\nWe answer by mail.\n\n## Kind\nBe kind.\n\n## Brief\nBe brief.\n", "c.md")
    assert len(made.principles) == 3
    assert made.notices == (
        f"{tmp_path / 'c.md'}: the text below the document's title is a principle, too: House rules.",
    )


def test_a_list_may_be_longer_in_all_than_one_principle(tmp_path: Path) -> None:
    items = "\n".join(f"- **Rule {number}**: {'word ' * 100}" for number in range(12))
    assert len(loaded(tmp_path, f"# House rules\n{items}\n", "c.md").principles) == 12
