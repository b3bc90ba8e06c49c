"""The figures, the table and the plot."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from imagegen.cost.assumptions import Assumptions
from imagegen.cost.instance import Life
from imagegen.cost.plot import plot
from imagegen.cost.prices import PriceTable
from imagegen.cost.report import percentile, summarise, table
from imagegen.cost.scenarios import SCENARIOS, Played, Scenario, play
from imagegen.cost.trace import SPARSE_DAY, Arrival, Kind, Trace, read_trace
from imagegen.settings import Settings

LIFE = Life(36_000, 36_020, 39_600, ((36_020, 36_380),), 360.0)
NAIVE = Played(
    Scenario("naive", is_naive=True), pictures=10, refused=1, picture_waits_s=(3.0, 1.0, 2.0, 40.0),
    page_waits_s=(), lives=(LIFE,), gpu_billed_s=3_600.0, web_billed_s=0.0,
)  # fmt: skip
OURS = replace(
    NAIVE, scenario=Scenario("+ <both>"), pictures=20, gpu_billed_s=1_800.0, web_billed_s=3_600.0
)
NOTHING = replace(NAIVE, pictures=0, picture_waits_s=(), lives=(), gpu_billed_s=0.0)
PRICES = PriceTable(render_usd_per_hour=2.0, web_usd_per_hour=0.5)
TRACE = Trace((Arrival(36_000, Kind.GENERATE, 1), Arrival(38_000, Kind.PAGE, 0)))
SVG = "{http://www.w3.org/2000/svg}"


def test_prices_come_from_the_settings():
    prices = PriceTable.of(Settings(usd_per_hour=3.6, web_usd_per_hour=0.36))
    assert (prices.render_usd(10), prices.web_usd(10)) == pytest.approx((0.01, 0.001))


def test_the_figures_of_a_scenario():
    naive, ours = summarise([NAIVE, OURS], PRICES)
    assert (naive.usd, naive.usd_per_picture, naive.times_below_naive) == (2.0, 0.2, 1.0)
    assert (naive.gpu_hours, naive.rendering_share, naive.cold_starts) == (1.0, 0.1, 1)
    assert (naive.picture_wait_p50_s, naive.picture_wait_p95_s) == (2.0, 40.0)
    assert (naive.page_wait_p95_s, naive.refused) == (None, 1)
    assert (ours.usd, ours.usd_per_picture, ours.rendering_share) == (1.5, 0.075, 0.2)
    assert ours.times_below_naive == pytest.approx(0.2 / 0.075)


def test_nothing_is_divided_by_nothing():
    [summary] = summarise([NOTHING], PRICES)
    assert (summary.usd, summary.usd_per_picture, summary.rendering_share) == (0, None, None)
    assert table([summary]).splitlines()[1].split() == [
        "naive", "–", "–", "0.00", "0.00", "–", "0", "–", "–", "–", "1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "part", "found"),
    [((), 0.5, None), ((7,), 0.95, 7), ((1, 2), 0.5, 1), (range(1, 101), 0.95, 95)],
)
def test_percentiles_are_values_that_occurred(values, part, found):
    assert percentile(values, part) == found


def test_the_table_has_a_line_a_scenario_and_straight_columns():
    lines = table(summarise([NAIVE, OURS], PRICES)).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split() == [
        "+", "<both>", "0.0750", "2.7x", "1.50", "0.50", "20%", "1", "2.0", "40.0", "–", "1",
    ]  # fmt: skip


def drawn(played: list[Played], trace: Trace = TRACE) -> ElementTree.Element:
    return ElementTree.fromstring(plot(trace, played, summarise(played, PRICES)))


def bars(svg: ElementTree.Element, kind: str) -> list[tuple[float, float, float]]:
    return [
        (float(bar.attrib["x"]), float(bar.attrib["y"]), float(bar.attrib["width"]))
        for bar in svg.iter(f"{SVG}rect")
        if bar.get("class") == kind and float(bar.attrib["height"]) != 12  # the legend's
    ]


def test_the_plot_draws_each_life_to_scale_and_says_each_name():
    svg = drawn([NAIVE, OURS])
    [(x, y, width), second] = bars(svg, "idle")
    assert (x, width) == (178.0, 582.0)  # from ten to eleven, which is the whole axis
    assert second == (x, y + 34, width)
    assert bars(svg, "serving")[0][2] == pytest.approx(582 / 10, abs=0.1)
    words = [text.text for text in svg.iter(f"{SVG}text")]
    assert {"naive", "+ <both>", "10:00", "11:00", "$0.2000 a picture"} <= set(words)


def test_instances_of_one_moment_stand_side_by_side():
    other = replace(LIFE, started_s=37_000, ready_s=37_020, busy=())
    [(_, upper, _), (_, lower, _)] = bars(drawn([replace(NAIVE, lives=(LIFE, other))]), "idle")
    assert lower == upper + 10


def test_what_a_pixel_cannot_show_is_one_bar():
    many = tuple(
        Life(at_s, at_s + 1, at_s + 2, ((at_s + 1, at_s + 2),), 1.0) for at_s in range(0, 86_400, 4)
    )
    svg = drawn([replace(NAIVE, lives=many)], Trace((Arrival(0, Kind.PAGE, 0),)))
    assert len(bars(svg, "idle")) == 1


@pytest.mark.parametrize("days", [1, 9, 300])
def test_any_length_of_trace_has_few_labels(days):
    trace = Trace((Arrival(0, Kind.PAGE, 0), Arrival((days - 0.1) * 86_400, Kind.BATCH, 9)))
    played = [play(trace, scenario, Assumptions()) for scenario in SCENARIOS]
    svg = ElementTree.fromstring(plot(trace, played, summarise(played, PRICES)))
    labels = [text for text in svg.iter(f"{SVG}text") if text.get("text-anchor") == "middle"]
    assert 2 <= len(labels) <= 13


def test_the_sample_is_cheaper_the_more_is_taken_off_the_gpu():
    """What docs/cost.md explains: not figures, which are the page's, but their order."""
    trace = read_trace(SPARSE_DAY)
    played = [play(trace, scenario, Assumptions()) for scenario in SCENARIOS]
    usd = {each.scenario: each.usd for each in summarise(played, PRICES)}
    assert usd["+ both"] < usd["+ pages on a CPU"] < usd["+ scripts as jobs"]
    assert usd["+ scripts as jobs"] < usd["imagegen, one service"] <= usd["naive"]
