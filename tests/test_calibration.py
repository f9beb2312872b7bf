"""The calibration against what it states: its features, its optimum, and Spark's sums against plain ones."""

import math
from collections import defaultdict

import numpy as np
import pytest

from mining.calibration import (
    FEATURES,
    MAX_LOGIT,
    NEIGHBOURS,
    SHAPE,
    feature_matrix,
    fit,
    fit_words,
    neighbour_mean,
    page_shape,
)
from mining.errors import ConfigError
from mining.url import path_prefixes


def planted(number: int, seed: int = 0) -> tuple[np.ndarray, list[bool]]:
    """Random features of which the first and the last decide, with noise."""
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(number, len(FEATURES))) * 3 + 1
    chance = 1 / (1 + np.exp(-(2 * (features[:, 0] - 1) - (features[:, -1] - 1))))
    return features, (draw.random(number) < chance).tolist()


def test_shape_of_a_small_page():
    text = "# Title\n\nA sum is $a+b$. See below.\n\n$$x^2$$\n\n  • one\n  2. two\n    int f();"
    shape = dict(zip(SHAPE, page_shape(text, "https://host.org/a/2021/b.html"), strict=True))
    assert shape["log_formulas"] == pytest.approx(math.log(3))
    assert shape["formula_share"] == pytest.approx(12 / len(text))
    assert shape["display_lines"] == pytest.approx(1 / 6)
    assert shape["list_lines"] == pytest.approx(2 / 6)
    assert shape["code_signs"] == pytest.approx(3 / 6)
    assert shape["path_depth"] == 2
    assert shape["path_year"] == shape["has_formula"] == 1


@pytest.mark.parametrize("text", ["", "\n", "$" * 5000, "$a" * 20_000, "\t" * 20_000, "漢" * 9, "\ud800x"])
def test_shape_of_any_text_is_finite(text):
    assert np.isfinite(page_shape(text, "no url")).all()
    assert len(page_shape(text, "")) == len(SHAPE)


def test_fit_finds_the_planted_direction_and_its_gradient_is_zero():
    features, labels = planted(3000)
    found = fit(features, labels, l2=1.0)
    weights = dict(zip(FEATURES, found.weights, strict=True))
    assert weights["logit"] > 3 and weights["words"] < -1.5
    assert max(abs(weights[name]) for name in SHAPE) < 0.4
    standard = np.clip((features - found.mean) / np.array(found.scale), -4, 4)
    residual = 1 / (1 + np.exp(-found.score(features))) - np.array(labels)
    assert np.abs(standard.T @ residual + np.array(found.weights)).max() < 1e-6
    assert abs(residual.sum()) < 1e-3
    fresh, wanted = planted(3000, seed=1)
    assert np.mean((found.score(fresh) > 0) == wanted) > 0.85


def test_fit_does_not_depend_on_scale_and_survives_constants_and_separation():
    features, labels = planted(400)
    scores = fit(features, labels).score(features)
    assert fit(features * 1000 - 7, labels).score(features * 1000 - 7) == pytest.approx(scores, abs=1e-6)
    features[:, 3] = 5.0
    features[:, 0] = np.where(labels, 9.0, -9.0)
    assert np.isfinite(fit(features, labels).score(features * 1e6)).all()


def test_too_few_labels_are_refused_with_what_to_do():
    features, _ = planted(100)
    with pytest.raises(ConfigError, match=r"19 audited pages are positive and 81 are not.*motherlode annotate"):
        fit(features, [True] * 19 + [False] * 81)


def test_words_are_learned_and_no_page_is_scored_by_its_own_host():
    draw = np.random.default_rng(0)
    labels = [bool(draw.integers(2)) for _ in range(120)]
    hosts = [f"h{number % 15}.org" for number in range(120)]
    topics = {True: ["theorem", "proof", "lemma"], False: ["recipe", "salt", "oven"]}
    lines = [
        " ".join([*draw.choice(topics[label], 6), *draw.choice(["the", "of", "and"], 9), f"only{host}", host])
        for label, host in zip(labels, hosts, strict=True)
    ]
    model, unseen = fit_words(lines, labels, hosts)
    assert np.mean((unseen > 0) == labels) > 0.97
    assert model.score("theorem proof the") > 1 > -1 > model.score("salt oven the")
    assert model.score("never seen words") == model.bias
    assert {"theorem", "proof", "lemma"} <= set(model.extremes(5)["for"])
    # Labels that a host alone decides cannot be told by a model that has not seen the host.
    by_host = [int(host[1:-4]) % 2 == 0 for host in hosts]
    noise = [f"{host} {'x ' * 3}" for host in hosts]
    known, blind = fit_words(noise, by_host, hosts)
    assert np.mean([(known.score(line) > 0) == label for line, label in zip(noise, by_host, strict=True)]) == 1
    assert np.mean((blind > 0) == by_host) < 0.8


def test_a_page_is_not_its_own_neighbour():
    alone = neighbour_mean(np.array([5.0]), np.array([1.0]), np.array([5.0]), 0.0)
    assert alone.tolist() == [0.0]
    of_three = neighbour_mean(np.array([9.0]), np.array([3.0]), np.array([1.0]), 1.0)
    assert of_three.tolist() == [(8 + 2) / 4]


@pytest.mark.spark
def test_spark_gives_the_features_that_plain_sums_give(spark, tmp_path):
    from mining.spark.calibrate import AuditedLine, calibrated_scores

    draw = np.random.default_rng(3)
    rows = []
    for number in range(300):
        host = f"h{draw.integers(12)}.org"
        url = f"https://{host}/" + "".join(f"d{draw.integers(3)}/" for _ in range(draw.integers(4))) + f"p{number}"
        logit = float(draw.normal() * 5)
        rows.append((f"{number:03d}", url, host, host, "en", 10, logit, draw.normal(size=len(SHAPE)).tolist()))
    audited = [AuditedLine(row[0], row[2], bool(row[6] + draw.normal() > 0), "") for row in rows[::2]]
    unseen = draw.normal(size=len(audited))
    known = [(*row, path_prefixes(row[1]), float(draw.normal())) for row in rows]
    schema = (
        "page_id string, url string, host string, domain string, language string, n_tokens int, logit double, "
        "shape array<double>, folders array<string>, words double"
    )

    def scores(partitions: int, name: str) -> dict[str, float]:
        frame = spark.createDataFrame(known, schema).repartition(partitions)
        scored, _ = calibrated_scores(spark, frame, audited, unseen, work_dir=tmp_path / name)
        return {row["page_id"]: row["score"] for row in scored.collect()}

    found = scores(3, "three")
    assert found == scores(1, "one")
    matrix = plain_features(rows, [row[-1] for row in known])
    training = matrix[::2].copy()
    training[:, -1] = unseen
    expected = fit(training, [one.is_positive for one in audited]).score(matrix)
    assert [found[row[0]] for row in rows] == pytest.approx(expected.tolist(), abs=1e-6)


def plain_features(rows: list[tuple], words: list[float]) -> np.ndarray:
    cut = np.clip([row[6] for row in rows], -MAX_LOGIT, MAX_LOGIT)
    folders = [path_prefixes(row[1]) for row in rows]
    members: dict[str, list[int]] = defaultdict(list)
    for place, names in enumerate(folders):
        for name in names:
            members[name].append(place)
    hosts, deepest = [], []
    for place, row in enumerate(rows):
        of_host = [other for other, one in enumerate(rows) if one[2] == row[2] and other != place]
        hosts.append(cut[of_host].sum() / (len(of_host) + 2))
        mean = hosts[-1]
        for name in folders[place]:
            if len(members[name]) >= NEIGHBOURS:
                others = [other for other in members[name] if other != place]
                mean = (cut[others].sum() + 2 * hosts[-1]) / (len(others) + 2)
        deepest.append(mean)
    shapes = np.array([row[7] for row in rows])
    return feature_matrix(
        np.array([row[6] for row in rows]), shapes, np.array(hosts), np.array(deepest), np.array(words)
    )
