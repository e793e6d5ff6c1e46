"""The pure parts of the benchmark: the climb to saturation, the medians behind bars, and the time of collecting."""

import pytest

from benchmarks.bars import BARS, meets, value_of
from benchmarks.frontier import LeastFigure, near_best, next_collect_ms, same_age
from benchmarks.frontier_plot import line_of
from benchmarks.generator import Failed, generator_cores
from benchmarks.medians import AS_OLD, by_shape, peers
from benchmarks.shapes import BIG_ROOM, Row, Traffic, big_room_at, climb

SHAPE = BIG_ROOM[0].name


def row(server: str, cpu: float, **more: object) -> Row:
    return {"shape": SHAPE, "server": server, "cpu_us_per_delivery": cpu, "p50_us": 2.0, "received_share": 1.0} | more


def bar(name: str):
    return next(bar for bar in BARS if bar.name == name)


# --- the climb to saturation ---


def climb_to(limit: float, first: float) -> list[float]:
    """Climb with a server that keeps up to a limit. Returns the steps that it kept up with."""

    def measure(traffic: Traffic) -> Row:
        if traffic.rate > limit:
            raise Failed("too much")
        return {"p99_us": 1.0, "generator_behind": 0, "missing_last": 0, "received_share": 1.0}

    return [found["size"] for found in climb(big_room_at, first, measure, conflates=False)]


@pytest.mark.parametrize("limit", [150.0, 480.0, 1234.0, 9999.0])
def test_the_climb_ends_within_ten_percent_of_the_most_that_a_server_can_do(limit):
    sizes = climb_to(limit, 480)
    assert limit / 1.1 <= sizes[-1] <= limit
    assert sizes == sorted(sizes)


def test_the_climb_gives_up_on_a_server_that_can_do_next_to_nothing():
    assert climb_to(2.0, 480) == []


# --- bars ---


def test_a_figure_is_divided_by_that_of_the_best_peer():
    table = by_shape([row("studyroom", 6), row("bun", 8), row("axum", 5), row("limit", 2), row(AS_OLD, 1)])
    value = value_of(bar("big-room-20-cpu-to-best-peer"), table)
    assert value is not None
    assert (value.counted, value.whom) == (6 / 5, "axum")


def test_a_peer_that_drops_messages_or_fails_is_not_compared():
    table = by_shape([row("bun", 1, received_share=0.9), row("axum", 1, failed="no end in time"), row("nchan", 4)])
    assert peers(table[SHAPE], "cpu_us_per_delivery") == [(4, "nchan")]


def test_a_figure_is_divided_by_that_of_the_limit_with_the_same_age():
    table = by_shape([row("studyroom", 6), row("limit", 2), row(AS_OLD, 5)])
    value = value_of(bar("big-room-20-cpu-to-limit"), table)
    assert value is not None
    assert value.counted == 6 / 5


def test_a_figure_is_the_median_of_the_repeats():
    table = by_shape([row("studyroom", 6, p50_us=age) for age in (9.0, 1.0, 2.0)])
    value = value_of(bar("big-room-20-p50-ms"), table)
    assert value is not None
    assert value.counted == 2.0
    assert meets(bar("big-room-20-p50-ms"), value.counted)


def test_a_figure_without_measurements_has_no_value():
    assert value_of(bar("big-room-20-cpu-to-best-peer"), by_shape([row("studyroom", 6)])) is None
    assert value_of(bar("big-room-20-cpu-to-limit"), by_shape([row("studyroom", 6), row("limit", 6)])) is None


def test_some_figures_must_be_at_least_their_bar():
    figure = bar("big-room-saturation-deliveries-to-best-peer")
    assert meets(figure, 1.2)
    assert not meets(figure, 0.9)
    assert LeastFigure(figure.name, figure.bar, 0.9).short
    assert not LeastFigure(figure.name, figure.bar, 1.2).short


def test_names_of_figures_are_unique_and_have_no_blanks():
    names = [bar.name for bar in BARS]
    assert len(set(names)) == len(names)
    assert not any(" " in name for name in names)


# --- peers that are measured again ---


def test_peers_near_the_best_are_measured_again():
    assert near_best([(10, "a"), (12, "b"), (14, "c")], least=False) == {"a", "b"}
    assert near_best([(10, "a"), (12, "b"), (14, "c")], least=True) == {"b", "c"}
    assert near_best([], least=True) == set()


# --- the limit at the same age ---


def test_the_limit_does_not_collect_where_it_has_the_wanted_age_at_once():
    assert next_collect_ms(2.0, 2.1, []) == 0
    assert next_collect_ms(2.0, 3.0, []) == 0


@pytest.mark.parametrize(("age", "share"), [(5.0, 0.5), (21.0, 0.6), (40.0, 0.9)])
def test_the_time_of_collecting_is_found_in_two_tries_where_the_age_grows_with_it(age, share):
    at_once = 0.1
    tried: list[tuple[float, float]] = []
    for _ in range(2):
        collect_ms = next_collect_ms(age, at_once, tried)
        tried.append((collect_ms, at_once + share * collect_ms))
    assert same_age(tried[-1][1], age)


def test_the_time_of_collecting_stays_finite_where_the_age_does_not_grow_with_it():
    tried: list[tuple[float, float]] = []
    for _ in range(9):
        tried.append((next_collect_ms(5.0, 2.0, tried), 2.0))
    assert max(collected for collected, _ in tried) <= 200


# --- the generator and the picture ---


def test_the_generator_has_two_cores_where_the_server_leaves_two():
    assert generator_cores({0, 1}) == [1]
    assert generator_cores({3, 2, 1, 0}) == [1, 2]
    assert generator_cores({0}) == [0]


def test_a_line_of_the_picture_has_a_point_for_each_load_that_was_delivered():
    table = by_shape([row("bun", 4), row("bun", 6), row("bun", 5), row("axum", 5, received_share=0.5)])
    assert line_of("bun", BIG_ROOM, table, "p50_us") == [(200_000, 2.0)]
    assert line_of("axum", BIG_ROOM, table, "p50_us") == []
