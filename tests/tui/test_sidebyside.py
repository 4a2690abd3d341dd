from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import BASE, TRAINED

from engine.text import sanitize
from engine.textdiff.diff import diff_texts
from tui.views.log_layout import Line
from tui.views.side_by_side import beside, stacked
from tui.views.wrap import cells


def text(lines: list[Line]) -> list[str]:
    return ["".join(piece.text for piece in line) for line in lines]


def test_sentences_that_belong_together_begin_on_the_same_line() -> None:
    base = "One stays. A sentence that is rather long and takes more lines than the other. The end is here."
    trained = "One stays. A sentence that is short. The end is here."
    left, right = beside(diff_texts(base, trained), 24, 24)
    assert len(left) == len(right)
    assert text(left).index("The end is here.") == text(right).index("The end is here.")


def test_changed_words_have_roles() -> None:
    left, right = beside(diff_texts(BASE, TRAINED), 40, 40)
    assert any(piece.role == "gone" for line in left for piece in line)
    assert any(piece.role == "new" for line in right for piece in line)
    assert not any(piece.role == "new" for line in left for piece in line)


def test_stacked_answers_have_their_own_lengths() -> None:
    left, right = stacked(diff_texts("One.", "One. Two. Three."), 30)
    assert len(left) < len(right)


_TEXT = st.text(alphabet=st.sampled_from(list("ab .,\n日é👍\t\x1b")), max_size=80)


@settings(deadline=None)
@given(_TEXT, _TEXT, st.integers(4, 40))
def test_both_sides_fit_and_lose_nothing(base: str, trained: str, width: int) -> None:
    left, right = beside(diff_texts(base, trained), width, width)
    assert len(left) == len(right)
    for lines, source in ((left, base), (right, trained)):
        assert all(cells(line) <= width for line in text(lines))
        kept = "".join(text(lines))
        assert "".join(kept.split()) == "".join(sanitize(source).split())


def test_characters_that_differ_inside_a_word_have_a_role_of_their_own() -> None:
    (left,), (right,) = stacked(diff_texts("The color was red.", "The colour was red."), 40)
    assert [(piece.text, piece.role) for piece in left if piece.role != "text"] == [("color", "gone")]
    assert [(piece.text, piece.role) for piece in right if piece.role != "text"] == [
        ("colo", "new"),
        ("u", "new-part"),
        ("r", "new"),
    ]
