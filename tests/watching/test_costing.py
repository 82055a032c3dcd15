"""Costs on numbers worked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from natix_miner.errors import WatchingError
from natix_miner.watching.costing import TEMPOS_A_DAY, assumed, cost_of, load_of
from natix_miner.watching.prices import prices_of


def test_time_in_which_queries_overlap_is_busy_once():
    # 10-14 and 12-15 overlap: 5 s; 13-13.5 lies within; 20-21: 1 s. In 30 s: a fifth.
    load = load_of([(12.0, 3.0), (10.0, 4.0), (13.0, 0.5), (20.0, 1.0)], since=0.0, until=30.0)

    assert (load.queries, load.busy_seconds) == (4, 6.0)
    assert load.busy_share == pytest.approx(0.2)
    assert load.busy_seconds_per_query == 1.5
    assert load.possible_per_day == 57_600  # 86400 / 1.5
    assert load.queries_per_day == 11_520  # 4 in 30 s


def test_what_reaches_beyond_the_stretch_is_cut():
    load = load_of([(8.0, 5.0)], since=0.0, until=10.0)
    assert load.busy_seconds == 2.0


def test_no_time_at_all_is_refused():
    with pytest.raises(WatchingError, match="span no time"):
        load_of([(5.0, 0.0)], since=5.0, until=5.0)


def test_a_day_at_forty_cents():
    # 1200 queries of 3 s: busy 3600 s, a 24th of the day. 0.4 * 24 = 9.6 a day, 0.008 a query;
    # one busy hour for 1200 queries: 0.4 / 1200. At 400 a TAO: 0.024 TAO; at 0.01 TAO an alpha:
    # 2.4; 20 tempos a day: 0.12 each.
    load = assumed(1200, 3.0)
    cost = cost_of("box", 0.4, load, tao_price=400.0, alpha_price=0.01)

    assert load.busy_share == pytest.approx(1 / 24)
    assert cost.per_day == pytest.approx(9.6)
    assert cost.per_query == pytest.approx(0.008)
    assert cost.per_busy_query == pytest.approx(0.4 / 1200)
    assert cost.break_even_tao == pytest.approx(0.024)
    assert cost.break_even_alpha == pytest.approx(2.4)
    assert TEMPOS_A_DAY == 20
    assert cost.break_even_alpha_per_tempo == pytest.approx(0.12)


def test_without_queries_only_the_day_has_a_cost():
    cost = cost_of("box", 0.5, assumed(0, 3.0))

    assert (cost.per_day, cost.per_query, cost.per_busy_query) == (12.0, None, None)
    assert cost.break_even_tao is None


def test_more_than_a_machine_can_do_shows_as_a_share_above_one():
    assert assumed(100_000, 1.728).busy_share == pytest.approx(2.0)


def test_prices_come_from_a_file_and_flags_win(tmp_path: Path):
    file = tmp_path / "prices.yaml"
    file.write_text("box: 0.4\nbig box: 2\n")

    assert prices_of(["box=0.3", "a=b=1"], file) == {"box": 0.3, "big box": 2.0, "a=b": 1.0}


@pytest.mark.parametrize(
    "flag", ["box", "=0.4", "box=", "box=much", "box=-1", "box=nan", "box=inf"]
)
def test_what_is_no_price_is_told(flag: str):
    with pytest.raises(WatchingError, match="provider"):
        prices_of([flag], None)


@pytest.mark.parametrize("text", ["- box", "box: [1]", "box: true", "box: {", "box:"])
def test_a_file_without_prices_is_told(tmp_path: Path, text: str):
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(WatchingError, match=r"prices\.yaml"):
        prices_of([], file)
