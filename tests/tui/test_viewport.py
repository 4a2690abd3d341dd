from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tui.widgets.log.viewport import Row, Viewport


def port(heights: list[int], height: int = 5) -> Viewport:
    made = Viewport(lambda number: heights[number])
    made.height = height
    made.show(range(len(heights)))
    return made


def lines(heights: list[int]) -> list[Row]:
    return [Row(number, line) for number, height in enumerate(heights) for line in range(height)]


def test_follows_the_end_at_first() -> None:
    made = port([2, 3, 4])
    assert made.rows() == lines([2, 3, 4])[-5:]
    assert made.following


def test_moving_up_ends_following_and_new_events_are_counted() -> None:
    heights = [2, 3, 4]
    made = Viewport(lambda number: heights[number])
    made.height = 5
    shown = [0, 1, 2]
    made.show(shown)
    made.move(-1)
    assert not made.following
    before = made.rows()
    heights.append(3)
    shown.append(3)
    made.grown()
    assert made.rows() == before
    assert made.unseen == 1
    made.follow(True)
    assert made.unseen == 0
    assert made.rows()[-1] == Row(3, 2)


def test_keeps_the_event_at_the_top_when_more_or_less_is_shown() -> None:
    heights = [1] * 100
    made = port(heights)
    made.follow(False)
    made.move(-1000)
    made.move(50)
    assert made.top == Row(50, 0)
    made.show(range(0, 100, 7))
    assert made.top == Row(56, 0)
    made.show(range(100))
    assert made.top == Row(50, 0)
    made.show(range(0, 100, 10))
    assert made.top == Row(50, 0)


def test_shows_nothing_where_nothing_is_shown() -> None:
    made = port([])
    assert made.rows() == []
    assert made.top is None
    made.move(3)
    made.to_start()
    made.reveal(4)
    assert made.scrollbar() == (0, 0)


def test_reveal_brings_a_line_into_the_window_and_moves_no_further_than_needed() -> None:
    made = port([1] * 50)
    made.to_start()
    made.reveal(3)
    assert made.top == Row(0, 0)
    made.reveal(30)
    assert Row(30, 0) in made.rows()


_HEIGHTS = st.lists(st.integers(1, 9), min_size=1, max_size=30)
_MOVES = st.lists(st.integers(-40, 40), max_size=12)


@settings(deadline=None)
@given(_HEIGHTS, st.integers(1, 12), _MOVES)
def test_moves_like_a_window_on_all_lines(heights: list[int], height: int, moves: list[int]) -> None:
    made = port(heights, height)
    everything = lines(heights)
    top = max(0, len(everything) - height)
    assert made.rows() == everything[top : top + height]
    for move in moves:
        made.move(move)
        top = max(0, min(top + move, max(0, len(everything) - height)))
        assert made.rows() == everything[top : top + height]
        assert made.at_end() == (top == max(0, len(everything) - height))
        first, length = made.scrollbar()
        assert 0 <= first <= first + length <= height


@settings(deadline=None)
@given(_HEIGHTS, st.integers(1, 12), st.sets(st.integers(0, 29)), _MOVES)
def test_the_window_is_full_after_any_switch(heights: list[int], height: int, kept: set[int], moves: list[int]) -> None:
    made = port(heights, height)
    for move in moves:
        made.move(move)
    shown = sorted(number for number in kept if number < len(heights))
    made.show(shown)
    total = sum(heights[number] for number in shown)
    assert len(made.rows()) == min(height, total)


def test_the_place_is_kept_while_nothing_is_shown() -> None:
    made = port([1] * 100)
    made.to_start()
    made.move(50)
    made.show(())
    assert made.rows() == []
    made.relaid()
    made.show(range(100))
    assert made.top == Row(50, 0)


def test_following_can_be_switched_where_nothing_is_shown() -> None:
    made = port([])
    made.follow(False)
    made.follow(True)
    assert made.rows() == []


def test_a_filter_does_not_make_old_records_new() -> None:
    made = port([1] * 200)
    made.to_start()
    assert made.unseen == 0
    made.show([150])
    assert made.unseen == 0
    made.newest = 199
    made.follow(True)
    made.follow(False)
    made.show(range(200))
    assert made.unseen == 0


def test_records_that_came_into_sight_are_no_longer_new() -> None:
    shown = list(range(10))
    made = Viewport(lambda _: 1)
    made.height = 5
    made.show(shown)
    made.move(-2)
    shown += [10, 11]
    made.grown()
    assert made.unseen == 2
    made.move(100)
    assert made.unseen == 0
    made.move(-5)
    assert made.unseen == 0


def test_a_record_that_had_arrived_hidden_is_not_new_when_it_is_shown() -> None:
    made = port([1] * 200)
    made.show(range(190))
    made.newest = 199
    made.to_start()
    made.show(range(200))
    assert made.unseen == 0
