"""Constitution files: what is read, and what every mistake in one is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.constitution.load import MAX_BYTES, load
from engine.errors import InputError, RedraftError, StorageError
from engine.judges.rules.matching import failed_examples

GOOD = """\
name = "House rules"

[words]
animal = ["dogs?", "cats?"]

[[principles]]
id = "kindness"
title = "Kindness"
short = "kind"
description = "Be kind."
weight = 2.5
critiques = ["Is it kind?"]
revisions = ["Make it kind."]

[[principles.rules]]
id = "kind.kick"
category = "cruelty"
weight = 0.9
pattern = '''
    \\bkick the
    (?: big| small)? {{animal}}\\b'''
unless = 'ball'
match = ["Just kick the big dog."]
spare = ["Never kick the cat.", "Kick the dog's ball: kick the dog a ball."]

[[principles]]
id = "brevity"
description = "Be brief."
critiques = ["Is it brief?"]
revisions = ["Make it brief."]
"""


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "rules.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal(folder: Path, text: str | bytes) -> str:
    with pytest.raises(InputError) as caught:
        load(written(folder, text), failed_examples)
    return str(caught.value)


def test_reads_everything_that_a_file_says(tmp_path: Path) -> None:
    constitution = load(written(tmp_path, GOOD), failed_examples)
    assert constitution.name == "House rules"
    assert constitution.ids == ("kindness", "brevity")
    assert constitution.max_score == 3.5
    kindness = constitution.principle("kindness")
    assert (kindness.title, kindness.short, kindness.weight) == ("Kindness", "kind", 2.5)
    assert kindness.rules[0].pattern == r"\bkick the(?: big| small)? (?:dogs?|cats?)\b"
    assert kindness.rules[0].except_if == "ball"
    assert len(constitution.sha256) == 64


def test_titles_short_names_and_weights_have_defaults(tmp_path: Path) -> None:
    brevity = load(written(tmp_path, GOOD), failed_examples).principle("brevity")
    assert (brevity.title, brevity.short, brevity.weight, brevity.rules) == ("Brevity", "brevity", 1.0, ())


def test_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()
    assert (
        load(written(tmp_path, data), failed_examples).principles
        == load(written(tmp_path, GOOD), failed_examples).principles
    )


@pytest.mark.parametrize(
    ("old", "new", "line", "parts"),
    [
        (
            "weight = 2.5",
            "wieght = 2.5",
            11,
            ['Unknown key "wieght"', 'Did you mean "weight"?', "principles[1].wieght"],
        ),
        ("weight = 2.5", "weight = nan", 11, ["nan is not possible", "above 0"]),
        ("weight = 2.5", "weight = inf", 11, ["inf is not possible"]),
        ("weight = 2.5", "weight = 0", 11, ["0 is not possible"]),
        ("weight = 2.5", "weight = -1", 11, ["-1 is not possible"]),
        ("weight = 2.5", 'weight = "2"', 11, ["Expected a number, found a text"]),
        ("weight = 2.5", "weight = true", 11, ["Expected a number, found true or false"]),
        ("weight = 2.5", "weight = 2020-01-01", 11, ["found a date or time"]),
        ("weight = 2.5", f"weight = {'9' * 400}", 11, ["is not possible"]),
        ("weight = 0.9", "weight = 1.5", 18, ["1.5 is not possible", "at most 1", "rules[1].weight"]),
        ('id = "brevity"', 'id = "kindness"', 27, ['"kindness" is already taken in line 7', "principles[2].id"]),
        ('id = "brevity"', 'id = "Be brief"', 27, ["cannot be an id"]),
        ('id = "kind.kick"', "id = 7", 16, ["Expected a text in quotes, found the number 7"]),
        ('critiques = ["Is it kind?"]', "critiques = []", 12, ['"critiques" needs at least 1 text']),
        ('critiques = ["Is it kind?"]', 'critiques = "Is it?"', 12, ["Expected a list of texts, found a text"]),
        ('critiques = ["Is it kind?"]', 'critiques = ["a", 3]', 12, ["critiques[2]", "found the number 3"]),
        ('critiques = ["Is it kind?"]', 'critiques = [" "]', 12, ["The text is empty"]),
        ('critiques = ["Is it kind?"]', "", 6, ['"critiques" needs at least 1 text']),
        ('description = "Be kind."', "", 6, ['The key "description" is missing']),
        ("unless = 'ball'", "unless = '('", 22, ["The pattern is not valid", "RE2 syntax", "rules[1].unless"]),
        ("unless = 'ball'", "unless = '(?=x)'", 22, ["The pattern is not valid"]),
        ("unless = 'ball'", "unless = 'x*'", 22, ["matches the empty text"]),
        ("unless = 'ball'", "unless = 'x{5000}'", 22, ["The pattern is not valid"]),
        ("{{animal}}", "{{animals}}", 19, ['no word list "animals"', 'Did you mean "animal"?']),
        ('["dogs?", "cats?"]', "[]", 4, ["Expected a list of words", "words.animal"]),
        ("Just kick the big dog.", "Just pet the big dog.", 23, ["does not match its example 1", "rules[1].match"]),
        ("Never kick the cat.", "Always kick the cat.", 24, ["matches a text that it must not match", "number 1"]),
        ('name = "House rules"', 'nmae = "House rules"', 1, ['Did you mean "name"?']),
    ],
)
def test_a_mistake_is_named_with_file_line_and_field(
    tmp_path: Path, old: str, new: str, line: int, parts: list[str]
) -> None:
    assert old in GOOD
    message = refusal(tmp_path, GOOD.replace(old, new, 1))
    assert message.startswith(f"{tmp_path / 'rules.toml'}, line {line}")
    for part in parts:
        assert part in message


def test_broken_syntax_names_line_and_column(tmp_path: Path) -> None:
    assert "line 1, column 8" in refusal(tmp_path, "name = \n")
    assert "not valid TOML" in refusal(tmp_path, "[[principles]\n")
    assert "not valid TOML" in refusal(tmp_path, 'name = "never closed')


def test_rule_ids_are_unique_in_the_whole_file(tmp_path: Path) -> None:
    again = GOOD + "\n[[principles.rules]]\nid = \"kind.kick\"\ncategory = 'x'\npattern = 'x'\n"
    assert "already taken in line 16" in refusal(tmp_path, again)


def test_no_principles_is_a_mistake(tmp_path: Path) -> None:
    assert "There are no principles" in refusal(tmp_path, 'name = "empty"')
    assert "There are no principles" in refusal(tmp_path, "")
    assert "Expected [[principles]] tables" in refusal(tmp_path, "principles = 3")
    assert "Expected a table" in refusal(tmp_path, "principles = [3]")
    assert "Expected [[principles.rules]] tables" in refusal(
        tmp_path, GOOD + "\n[principles.rules.deep.deeper]\nx = 1\n"
    )


def test_rules_may_be_written_as_inline_tables(tmp_path: Path) -> None:
    text = (
        GOOD.split("[[principles.rules]]")[0]
        + "rules = [\n  {id = 'a.b', category = 'c', pattern = '(', weight = 1}\n]\n"
    )
    assert "line 15, principles[1].rules[1].pattern" in refusal(tmp_path, text)


def test_bytes_that_are_not_utf_8_are_named_by_line(tmp_path: Path) -> None:
    message = refusal(tmp_path, b'name = "x"\n# caf\xe9\n')
    assert "line 2" in message
    assert "not UTF-8" in message
    assert "0xe9" in message


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 50_000,
        "x = " + "[" * 5_000 + "]" * 5_000,
        "x = " + "{a=" * 5_000 + "1" + "}" * 5_000,
        "x = 1" + "_000" * 3_000,
        "a" + ".a" * 5_000 + " = 1",
        "x = 99999-01-01",
        "\x00",
        "principles = [" + "1," * 100_000 + "]",
        "[words]\na = ['"
        + "x" * 90
        + "']\n"
        + "".join(
            f"{chr(97 + n)}{chr(97 + n)} = ['{{{{{p}}}}}{{{{{p}}}}}']\n"
            for n, p in zip(range(1, 20), ["a", *[chr(98 + n) * 2 for n in range(18)]], strict=True)
        ),
    ],
    ids=["open", "nested", "inline", "number", "dotted", "date", "nul", "list", "doubling"],
)
def test_hostile_files_are_refused_with_a_message(tmp_path: Path, text: str) -> None:
    with pytest.raises(RedraftError) as caught:
        load(written(tmp_path, text), failed_examples)
    assert len(str(caught.value)) < 1_000


def test_long_lists_and_texts_have_limits(tmp_path: Path) -> None:
    assert "at most 200" in refusal(tmp_path, GOOD.replace('["Is it kind?"]', str(["x"] * 201)))
    assert "at most 4,000" in refusal(tmp_path, GOOD.replace("Is it kind?", "x" * 4_001))


def test_a_file_larger_than_the_limit_is_not_read_whole(tmp_path: Path) -> None:
    assert "larger than 2 MB" in refusal(tmp_path, b"#" * (MAX_BYTES + 1))


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "nothing.toml", failed_examples)
    with pytest.raises(RedraftError):
        load(tmp_path, failed_examples)
    with pytest.raises((InputError, StorageError)):
        load("\0", failed_examples)


def test_error_messages_hold_no_control_characters_of_the_file(tmp_path: Path) -> None:
    message = refusal(tmp_path, '"\\u001b[31mred\\u202e" = 1')
    assert "\x1b" not in message
    assert "\u202e" not in message


def test_the_current_keys_of_a_rule_mean_what_the_former_ones_did(tmp_path: Path) -> None:
    current = GOOD.replace("unless =", "except_if =").replace("spare =", "must_not_match =")
    assert load(written(tmp_path, current), failed_examples).principles == (
        load(written(tmp_path, GOOD), failed_examples).principles
    )
    message = refusal(tmp_path, current.replace("Never kick the cat.", "Always kick the cat."))
    assert "line 24" in message
    assert "rules[1].must_not_match" in message
    assert "rules[1].except_if" in refusal(tmp_path, current.replace("'ball'", "'('"))


def test_a_rule_with_a_key_and_its_former_name_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, GOOD.replace("unless = 'ball'", "unless = 'ball'\nexcept_if = 'ball'"))
    assert 'former name of "except_if"' in message
    assert "line 22" in message


def test_the_content_hash_ignores_comments_and_key_names_only(tmp_path: Path) -> None:
    def content(text: str) -> str:
        return load(written(tmp_path, text), failed_examples).content_sha256

    assert content("# A comment.\n" + GOOD.replace("unless =", "except_if =")) == content(GOOD)
    for old, new in (("2.5", "2.25"), ("Be kind.", "Be kinder."), ("'ball'", "'balls?'"), ("kick the big", "kick the")):
        assert content(GOOD.replace(old, new)) != content(GOOD)


def test_a_backspace_in_a_pattern_is_named_for_what_it_is(tmp_path: Path) -> None:
    rule = GOOD[GOOD.index("pattern = ") : GOOD.index("unless")]
    message = refusal(tmp_path, GOOD.replace(rule, 'pattern = "\\bkick\\b"\n'))
    assert "rules.toml, line 19, " in message
    assert "The pattern holds a backspace" in message
    assert "single quotes" in message


def test_a_missing_constitution_is_advised_by_what_is_there(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    with pytest.raises(InputError, match=r"Did you mean .*rules\.toml"):
        load(path.with_name("Rule.toml"), failed_examples)
