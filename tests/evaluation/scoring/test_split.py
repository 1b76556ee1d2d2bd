import numpy as np
import pytest

from metamae.errors import ConfigError, DataError
from metamae.evaluation.scoring.split import (
    budget_name,
    label_budget,
    short_classes,
    train_test,
    validation_folds,
)
from metamae.evaluation.scoring.task import infer_task

CLASSES, CODES = infer_task(np.repeat(["a", "b", "c"], [60, 36, 4]), "y")
NUMBER, NUMBERS = infer_task(np.linspace(0, 1, 101), "y")
SEVERAL, SEVERALS = infer_task(np.random.default_rng(0).integers(0, 2, (100, 3)), "y")
EVERY = [(CLASSES, CODES), (NUMBER, NUMBERS), (SEVERAL, SEVERALS)]
KINDS = [task.kind for task, _ in EVERY]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("task, y", EVERY, ids=KINDS)
def test_parts_are_disjoint_complete_and_repeatable(task, y):
    train, test = train_test(y, task, test_share=0.25, rng=rng())
    assert sorted([*train, *test]) == list(range(len(y)))
    assert len(test) == round(0.25 * len(y))
    assert (np.diff(train) > 0).all()
    np.testing.assert_array_equal(test, train_test(y, task, test_share=0.25, rng=rng())[1])
    assert not np.array_equal(test, train_test(y, task, test_share=0.25, rng=rng(1))[1])


def test_classes_keep_their_shares_and_rare_ones_are_on_both_sides():
    _, test = train_test(CODES, CLASSES, test_share=0.25, rng=rng())
    assert np.bincount(CODES[test]).tolist() == [15, 9, 1]
    _, test = train_test(np.array([0, 0, 1, 1]), CLASSES, test_share=0.1, rng=rng())
    assert np.bincount(np.array([0, 0, 1, 1])[test]).tolist() == [1, 1]


@pytest.mark.parametrize("share", [0.2, 0.7])
@pytest.mark.parametrize("task, y", EVERY, ids=KINDS)
def test_groups_never_straddle(task, y, share):
    groups = np.array([f"patient {i}" for i in rng(7).integers(0, 20, len(y))])
    train, test = train_test(y, task, test_share=share, groups=groups, rng=rng())
    assert sorted([*train, *test]) == list(range(len(y)))
    assert not set(groups[train]) & set(groups[test])
    assert len(test) / len(y) == pytest.approx(share, abs=0.15)
    for inside, outside in validation_folds(y, task, groups=groups, rng=rng()):
        assert not set(groups[inside]) & set(groups[outside])
    pairs = validation_folds(y, task, groups=groups, rng=rng(), hold_out_from=50)
    assert len(pairs) == 1 and not set(groups[pairs[0][0]]) & set(groups[pairs[0][1]])


def test_another_seed_divides_few_groups_otherwise():
    # 21 places of very different sizes, some of which hold a single class.
    draw = rng(1)
    groups = draw.choice(21, 700, p=draw.dirichlet(np.full(21, 0.7)))
    task, y = infer_task(np.array(list("abcdef"))[(groups * 7 + draw.integers(0, 3, 700)) % 6], "y")
    tests = []
    for seed in range(6):
        train, test = train_test(y, task, test_share=0.3, groups=groups, rng=rng(seed))
        assert abs(len(test) / 700 - 0.3) < 0.1
        assert set(y[train]) == set(y[test]) == set(y)
        tests.append(tuple(sorted(set(groups[test]))))
    assert len(set(tests)) >= 4


def test_samples_without_a_label_are_in_neither_part():
    y = CODES.copy()
    y[::3] = -1
    train, test = train_test(y, CLASSES, rng=rng())
    assert sorted([*train, *test]) == np.flatnonzero(y >= 0).tolist()
    groups = np.arange(len(y)) // 2
    train, test = train_test(y, CLASSES, groups=groups, rng=rng())
    assert sorted([*train, *test]) == np.flatnonzero(y >= 0).tolist()
    assert all((y[i] >= 0).all() for i in label_budget(y, CLASSES, 2, 3, rng()))


def test_bad_splits_are_refused():
    with pytest.raises(ConfigError, match=r"train_test.test_share"):
        train_test(CODES, CLASSES, test_share=1.5, rng=rng())
    with pytest.raises(DataError, match="1 of 3 classes have one: 'c'"):
        train_test(CODES[:97], CLASSES, rng=rng())
    ids, codes = infer_task(np.arange(5), "y", "classification")
    with pytest.raises(DataError, match="kind='regression' would do"):
        train_test(codes, ids, rng=rng())
    with pytest.raises(DataError, match="at least two samples"):
        train_test(np.array([1.0, np.nan]), NUMBER, rng=rng())
    with pytest.raises(DataError, match="Groups must number at least two"):
        train_test(NUMBERS, NUMBER, groups=np.zeros(101), rng=rng())
    with pytest.raises(DataError, match="two classes left"):
        train_test(CODES[50:70], CLASSES, groups=CODES[50:70], rng=rng())


@pytest.mark.parametrize("task, y", EVERY, ids=KINDS)
def test_folds_cover_small_sets_and_large_sets_have_one_hold_out(task, y):
    pairs = validation_folds(y, task, rng=rng())
    assert len(pairs) == 5
    assert sorted(i for _, outside in pairs for i in outside) == list(range(len(y)))
    assert all(not set(a) & set(b) for a, b in pairs)
    ((inside, outside),) = validation_folds(y, task, rng=rng(), hold_out_from=100)
    assert len(outside) == pytest.approx(len(y) / 5, abs=1)
    assert len(inside) + len(outside) == len(y)


@pytest.mark.parametrize(
    "counts, num", [([1, 1, 1], 0), ([2, 2], 2), ([3, 3], 3), ([5, 5], 5), ([1, 9], 5)]
)
def test_folds_are_limited_by_the_largest_class(counts, num):
    y = np.repeat(np.arange(len(counts)), counts)
    assert len(validation_folds(y, CLASSES, rng=rng())) == num


def test_there_is_nothing_to_choose_by_in_one_group():
    assert validation_folds(NUMBERS, NUMBER, groups=np.zeros(101), rng=rng()) == []
    assert validation_folds(NUMBERS[:3], NUMBER, rng=rng()) == []


def test_a_budget_has_exactly_so_many_of_each_class():
    draws = label_budget(CODES, CLASSES, 4, 10, rng())
    assert len(draws) == 10
    assert all(np.bincount(CODES[i]).tolist() == [4, 4, 4] for i in draws)
    assert len({tuple(i) for i in draws}) == 10
    assert short_classes(CODES, CLASSES, 4) == {}
    # Class c has four samples: it gives what it has, and says so.
    assert np.bincount(CODES[label_budget(CODES, CLASSES, 10, 1, rng())[0]]).tolist() == [10, 10, 4]
    assert short_classes(CODES, CLASSES, 10) == {"c": 4}
    assert budget_name(CLASSES, 5) == "5 per class"


def test_a_budget_for_numbers_is_ten_times_as_many_samples():
    (index,) = label_budget(NUMBERS, NUMBER, 5, 1, rng())
    assert len(set(index)) == 50
    assert len(label_budget(NUMBERS, NUMBER, 50, 1, rng())[0]) == 101
    assert budget_name(NUMBER, 5) == "50 samples"
    assert short_classes(NUMBERS, NUMBER, 50) == {}


def test_a_budget_for_several_labels_has_both_sides_of_each():
    y = SEVERALS.copy()
    y[:, 2] = 0
    y[:3, 2] = 1
    for index in label_budget(y, SEVERAL, 5, 10, rng()):
        assert (y[index].sum(axis=0) >= [5, 5, 3]).all()
        assert ((1 - y[index]).sum(axis=0) >= 5).all()
        assert len(index) <= 30
    assert short_classes(y, SEVERAL, 5) == {"y 2": 3}
    assert budget_name(SEVERAL, 5) == "5 per label"


def test_bad_budgets_are_refused():
    with pytest.raises(ConfigError, match=r"label_budget.per_class"):
        label_budget(CODES, CLASSES, 0, 1, rng())
    with pytest.raises(ConfigError, match=r"label_budget.draws"):
        label_budget(CODES, CLASSES, 1, 0, rng())
