"""Rows: how they are cut, counted, ordered, split and shared out."""

from __future__ import annotations

import subprocess
import sys

import pytest
from training_aid import pair_rows, sft_rows

from engine.errors import InputError
from engine.training.data import Cut, PairRow, Sampler, SftRow, fingerprint, fit, share, split


def test_a_long_completion_loses_its_end_and_its_end_of_turn() -> None:
    rows, cuts = fit([SftRow((1, 2), (3, 4, 5, 9), "a"), SftRow((1,), (2, 9), "b")], 5)
    assert rows == (SftRow((1, 2), (3, 4, 5), "a"), SftRow((1,), (2, 9), "b"))
    assert cuts == (Cut("a", "completion", 1),)


def test_each_answer_of_a_pair_is_cut_for_itself() -> None:
    rows, cuts = fit([PairRow((1, 2), (3, 4, 5, 9), (6, 9), "a")], 5)
    assert rows == (PairRow((1, 2), (3, 4, 5), (6, 9), "a"),)
    assert cuts == (Cut("a", "chosen", 1),)


@pytest.mark.parametrize(
    "row",
    [
        SftRow(tuple(range(9)), (1, 2)),
        SftRow((), (1, 2)),
        SftRow((1,), ()),
        PairRow((1, 2), (3, 4, 5, 6, 7, 8, 9, 10), (3, 4, 5, 6, 7, 8, 9, 11)),
        PairRow((1,), (2, 3), ()),
    ],
    ids=["no room", "no prompt", "no completion", "equal once cut", "nothing rejected"],
)
def test_rows_that_teach_nothing_are_left_out_and_told(row: SftRow | PairRow) -> None:
    rows, cuts = fit([row], 9)  # type: ignore[type-var]
    assert rows == ()
    assert [cut.what for cut in cuts] == ["row"]


def test_an_epoch_sees_every_row_once_in_full_batches() -> None:
    sampler = Sampler([row.tokens for row in sft_rows(50)], 8, seed=3)
    order = sampler.order(0)
    assert sorted(i for batch in order for i in batch) == list(range(50))
    assert sorted(len(batch) for batch in order) == [2, 8, 8, 8, 8, 8, 8]
    assert sampler.steps_per_epoch == len(order)


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    lengths = [row.tokens for row in sft_rows(40)]
    one = Sampler(lengths, 4, seed=0)
    assert one.order(0) == Sampler(lengths, 4, seed=0).order(0)
    assert one.order(0) != one.order(1)
    assert one.order(0) != Sampler(lengths, 4, seed=1).order(0)


def test_batches_hold_rows_of_similar_length() -> None:
    lengths = [row.tokens for row in sft_rows(64, longest=100)]
    spread = [max(ls) - min(ls) for b in Sampler(lengths, 4, seed=0).order(0) if (ls := [lengths[i] for i in b])]
    assert sum(spread) / len(spread) < (max(lengths) - min(lengths)) / 4


def test_a_sampler_goes_on_where_another_was() -> None:
    lengths = [row.tokens for row in sft_rows(20)]
    one, other = Sampler(lengths, 4, seed=0), Sampler(lengths, 4, seed=0)
    one.next_epoch()
    one.advance()
    one.advance()
    other.load_state(one.state())
    assert (other.epoch, other.batch) == (1, one.batch)
    with pytest.raises(InputError, match="other training rows"):
        Sampler(lengths[1:], 4, seed=0).load_state(one.state())


def test_no_rows_at_all_is_an_error() -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        Sampler([], 4, seed=0)


def test_micro_batches_keep_to_the_limit_but_for_single_long_rows() -> None:
    rows = [*sft_rows(20), SftRow(tuple(range(60)), (1, 2), "long")]
    micro = split(rows, 50)
    assert sorted(r.key for part in micro for r in part) == sorted(r.key for r in rows)
    assert all(sum(r.tokens for r in part) <= 50 or len(part) == 1 for part in micro)


def test_micro_batches_are_of_a_size() -> None:
    rows = [SftRow((1,) * 60, (2,) * 40, str(number)) for number in range(12)]
    assert [len(part) for part in split(rows, 1024)] == [6, 6]
    assert [len(part) for part in split(rows, 1200)] == [12]


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_a_step_without_gaps_and_evenly(processes: int) -> None:
    rows = pair_rows(16)
    shares = [share(rows, process, processes) for process in range(processes)]
    assert sorted(r.key for part in shares for r in part) == sorted(r.key for r in rows)
    load = [sum(r.tokens for r in part) for part in shares]
    assert max(load) - min(load) <= max(r.tokens for r in rows)


def test_the_fingerprint_follows_tokens_and_order() -> None:
    rows = pair_rows(4)
    assert fingerprint(rows) == fingerprint(pair_rows(4))
    assert fingerprint(rows) != fingerprint(rows[::-1])
    assert fingerprint([SftRow((1,), (2, 3))]) != fingerprint([SftRow((1, 2), (3,))])


def test_configuration_rows_and_reports_need_no_torch() -> None:
    code = (
        "import sys, engine.training.config, engine.training.data, engine.training.callbacks\n"
        "heavy = {'torch', 'transformers', 'numpy', 'accelerate'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
