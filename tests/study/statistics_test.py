"""The study's statistics against values worked out by hand."""

import numpy as np
import pytest
import scipy.stats

import mtq
from mtq.study.analysis.results import ArmResult, Results
from mtq.study.analysis.similarity import linear_cka
from mtq.study.analysis.statistics import (
    corrected,
    interquartile_mean,
    mean_interval,
    performance_profile,
    permutation_p_value,
)
from mtq.study.analysis.transfer import (
    HELPED,
    HURT,
    NO_EVIDENCE,
    NOT_TESTED,
    TOO_FEW,
    compare,
    smallest_p_value,
    transfer_table,
)


def test_mean_and_interval_of_five_runs():
    """SD √2.5, and t of four degrees of freedom 2.7764."""
    (interval,) = mean_interval(np.array([[1.0], [2.0], [3.0], [4.0], [5.0]]))
    assert interval.value == 3
    half = 2.776445 * np.sqrt(2.5 / 5)
    assert (interval.low, interval.high) == pytest.approx((3 - half, 3 + half), rel=1e-6)


def test_one_run_has_no_interval():
    assert mean_interval(np.array([[4.0, 5.0]])) == [(4.0, None, None), (5.0, None, None)]
    assert interquartile_mean(np.array([[1.0, 2.0, 3.0, 10.0]])) == (2.5, None, None)
    shares, bands = performance_profile(np.array([[0.2, 0.8]]), np.array([0.5]))
    assert shares.tolist() == [0.5]
    assert np.isnan(bands).all()


def test_interquartile_mean_leaves_out_a_quarter_on_either_side():
    values = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 700.0]])
    interval = interquartile_mean(values)
    assert interval.value == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert interval.low <= interval.value <= interval.high
    assert interval == interquartile_mean(values)


def test_bootstrap_is_stratified_by_task():
    """Where all runs of a task agree, no draw of runs can change a thing."""
    interval = interquartile_mean(np.tile([[0.0, 1.0, 2.0, 3.0]], (5, 1)))
    assert interval == (1.5, 1.5, 1.5)


def test_profile_is_the_share_of_runs_above():
    values = np.array([[0.1, 0.9], [0.3, 0.7]])
    shares, (low, high) = performance_profile(values, np.array([0.0, 0.2, 0.5, 0.8, 1.0]))
    assert shares.tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert (low <= shares).all()
    assert (shares <= high).all()


def test_permutation_test_counts_partitions():
    """Of the 20 ways to part six runs in halves two are as far apart as these."""
    assert permutation_p_value(np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])) == pytest.approx(2 / 20)


def test_permutation_test_of_equal_constant_and_far_runs():
    same = np.full(10, 0.3972)
    assert permutation_p_value(same, same) == 1
    assert permutation_p_value(same, same + 1) == pytest.approx(2 / 10_000, abs=2e-4)
    few = permutation_p_value(np.array([1.0, 1.0, 1.0, 9.0]), np.array([2.0, 2.0, 2.0, 2.0]))
    assert 0.2 < few <= 1


@pytest.mark.thorough
def test_the_larger_p_value_of_two_tests():
    """Welch's by its closed form, and no less than it where the permutations would give less."""
    first, second = np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0, 7.0])
    t, freedom = 3 / np.sqrt(1 / 3 + 4 / 3), (5 / 3) ** 2 / ((1 / 3) ** 2 / 2 + (4 / 3) ** 2 / 2)
    by_t = 2 * scipy.stats.t.sf(t, freedom)
    assert by_t == pytest.approx(scipy.stats.ttest_ind(first, second, equal_var=False).pvalue)
    assert permutation_p_value(first, second) >= by_t
    random = np.random.default_rng(0)
    for spread in (0.1, 1.0, 3.0, 10.0) * 5:
        few, many = spread * random.normal(size=4), random.normal(1.0, size=20)
        assert permutation_p_value(few, many) >= scipy.stats.ttest_ind(few, many, equal_var=False).pvalue * (1 - 1e-9)


def false_findings(runs, others, spread, draws, seed):
    """The shares of p-values below 0.05 and below 0.005 where the arms differ in their spread alone.

    What Welch's test does not find is no finding: the p-value is never below Welch's, see the test above. So the slow
    permutations are needed for the others only.
    """
    random = np.random.default_rng(seed)
    first, second = spread * random.normal(size=(draws, runs)), random.normal(size=(draws, others))
    found = np.flatnonzero(scipy.stats.ttest_ind(first, second, axis=1, equal_var=False).pvalue < 0.05)
    p = np.array([permutation_p_value(first[draw], second[draw], seed=draw) for draw in found])
    return np.sum(p < 0.05) / draws, np.sum(p < 0.005) / draws


@pytest.mark.thorough
def test_the_smaller_and_noisier_arm_does_not_find_too_much():
    """By the permutation test alone a tenth of these would be below 0.05, and 3 % below 0.005."""
    at_05, at_005 = false_findings(10, 50, spread=3.0, draws=1_000, seed=5)
    assert at_05 <= 0.06
    assert at_005 <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("others", [10, 30, 50])
@pytest.mark.parametrize("spread", [1.0, 2.0, 3.0, 5.0, 10.0, 1 / 2, 1 / 3, 1 / 5, 1 / 10])
def test_false_findings(others, spread):
    """Of 6,000 draws: with 1,000, the standard error of a share of 5 % would be 0.7 %, too much for a bound of 6 %."""
    at_05, at_005 = false_findings(10, others, spread, draws=6_000, seed=round(100 * spread) + others)
    assert at_05 <= 0.06
    assert at_005 <= 0.01


def test_holm():
    """0.01 · 3, 0.03 · 2, and then no less than that."""
    raised = corrected(np.array([0.01, np.nan, 0.04, 0.03]))
    assert raised[[0, 2, 3]] == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(raised[1])


def test_cka_of_single_features_is_the_squared_correlation():
    x, y = np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([[1.0], [2.0], [3.0], [5.0]])
    assert linear_cka(x, y) == pytest.approx(6.5**2 / (5 * 8.75))


def test_cka_does_not_see_rotations_scale_and_place():
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 4))
    turned, _ = np.linalg.qr(random.normal(size=(4, 4)))
    assert linear_cka(x, 3 * x @ turned + 7) == pytest.approx(1)
    assert linear_cka(x, np.ones((50, 2))) == 0
    corners = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert linear_cka(corners[:, :1], corners[:, 1:]) == pytest.approx(0)


def scores(last, epochs=3):
    """Runs that score the same in every epoch, `[R, E + 1, T]`."""
    return np.repeat(np.asarray(last, float)[:, None], epochs + 1, axis=1)


def results(**arms):
    made = [ArmResult(name, scores(last), list(range(len(last)))) for name, last in arms.items()]
    return Results(("a", "b"), made, "separate", np.array([10.0, 0.0]))


def test_normalized_scores():
    found = results(separate=[[50.0, 1.0], [70.0, 3.0]], shared=[[35.0, 1.0], [35.0, 1.0]])
    assert found.normalized(found["shared"].last)[0] == pytest.approx([0.5, 0.5])
    assert found.normalized(found["separate"].last).mean(axis=0) == pytest.approx([1, 1])
    assert found.normalized(found.random) == pytest.approx([0, 0])


def test_no_scale_where_the_reference_is_no_better_than_random():
    found = results(separate=[[10.0, 1.0]], shared=[[35.0, 2.0]])
    assert np.isnan(found.normalized(found["shared"].last)[0, 0])


def test_figures_of_runs():
    arm = ArmResult("a", np.arange(13.0)[None, :, None])
    assert (arm.final, arm.last, arm.area) == (12, pytest.approx(7.5), pytest.approx(6.5))


def test_pairs_of_arms_are_compared_with_each_other():
    quiet = np.linspace(0, 1, 10)[:, None] * [1.0, 1.0]
    found = results(separate=quiet, a=quiet + np.array([5, 0]), b=quiet + np.array([0, -5]))
    rows = {(row.arm, row.against, row.task): row for row in compare(found, [("a", "b"), ("b", "a")])}
    assert rows["a", "b", "a"].difference == pytest.approx(5)
    assert rows["a", "b", "b"].verdict == rows["a", "b", "a"].verdict == HELPED
    assert rows["b", "a", "a"].verdict == HURT
    assert rows["b", "a", "a"].p_corrected == pytest.approx(4 * rows["b", "a", "a"].p, rel=0.5)


def test_transfer_table():
    random = np.random.default_rng(0)
    separate = np.stack([random.normal(50, 1, 10), random.normal(1, 1, 10)], axis=1)
    shift = np.array([9, 0])
    table = transfer_table(results(separate=separate, up=separate + shift, down=separate - shift, one=[[1, 1]]))
    verdicts = {(row.arm, row.task): row.verdict for row in table}
    assert verdicts == {
        ("up", "a"): HELPED,
        ("up", "b"): NO_EVIDENCE,
        ("down", "a"): HURT,
        ("down", "b"): NO_EVIDENCE,
        ("one", "a"): NOT_TESTED,
        ("one", "b"): NOT_TESTED,
    }
    assert table[0].difference == pytest.approx(9)
    tested = [row for row in table if row.verdict != NOT_TESTED]
    smallest = min(tested, key=lambda row: row.p)
    assert smallest.p_corrected == pytest.approx(4 * smallest.p)


def test_too_few_runs_for_any_finding():
    """Three runs against three are never below 0.1, and of fifteen tests five against five never below 0.119."""
    assert smallest_p_value(3, 3) == pytest.approx(0.1)
    assert smallest_p_value(5, 5) == pytest.approx(2 / 252)
    assert smallest_p_value(30, 30) == 2 / 10_000
    separate = np.array([[50.0, 1.0], [51.0, 1.1], [52.0, 1.2]])
    table = transfer_table(results(separate=separate, shared=separate + 1000))
    assert {row.verdict for row in table} == {TOO_FEW}


def test_published_tolerance_is_two_standard_errors_of_as_many_runs():
    from mtq.study.analysis.published import Comparison, PublishedFigure

    figure = PublishedFigure(80.0, 10.0, 100)
    assert figure.half_interval == pytest.approx(1.96)
    assert Comparison(figure, 85.9, 11).tolerance == pytest.approx(2 * 10 / 11**0.5)
    assert Comparison(figure, 85.9, 11).agrees
    assert not Comparison(figure, 86.1, 11).agrees
    assert mtq.study.Published is not None
