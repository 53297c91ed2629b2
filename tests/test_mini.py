"""Mini-benchmarks: tau against scipy and pairs counted one by one, choices, resamples, filtered runs, the command."""

import json
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posbench import experiment, loaders, measures, plots
from posbench.cli import main
from posbench.compare import choose
from posbench.dsir import noise
from posbench.dsir.features import FeatureSpec, featurise
from posbench.dsir.folder import write
from posbench.dsir.selectors import choose as choose_texts
from posbench.dsir.subset import subset
from posbench.errors import UsageError
from posbench.store import Results
from posbench.studies.mini import agreement, draws, reduced, study, summary, trials
from posbench.studies.mini.reduced import Corpus
from posbench.studies.mini.study import Plan
from posbench.studies.mini.subject import subject
from posbench.types import Collection, Qrels, Run, strings

# Agreement

MEANS = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), min_size=2, max_size=8)


def counted_tau(first, second):
    """Kendall's tau-b by its definition, a pair at a time; 0 where it has no value."""
    agree = disagree = tied_first = tied_second = 0
    for i, j in combinations(range(len(first)), 2):
        a, b = first[i] - first[j], second[i] - second[j]
        agree += a * b > 0
        disagree += a * b < 0
        tied_first += a == 0
        tied_second += b == 0
    pairs = len(first) * (len(first) - 1) / 2
    below = ((pairs - tied_first) * (pairs - tied_second)) ** 0.5
    return (agree - disagree) / below if below else 0.0


@settings(deadline=None)
@given(MEANS, st.randoms())
def test_tau_is_that_of_pairs_counted_one_by_one_and_of_scipy(first, random):
    second = first.copy()
    random.shuffle(second)
    found = float(agreement.tau_b(np.array(first), np.array(second)))
    assert found == pytest.approx(counted_tau(first, second), abs=1e-12)
    if len(set(first)) > 1:
        from scipy.stats import kendalltau

        assert found == pytest.approx(kendalltau(first, second).statistic, abs=1e-12)


def test_means_that_differ_by_rounding_are_tied():
    assert agreement.signs(np.array([0.1 + 0.2, 0.3, 0.4])).tolist() == [0, -1, -1]
    assert agreement.tau_b(np.array([0.5, 0.5]), np.array([1.0, 2.0])) == 0


def test_shifts_orders_and_errors():
    full = np.array([0.4, 0.3, 0.2, 0.1])
    means = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.4, 0.3, 0.2], [0.4, 0.2, 0.3, 0.1]])
    assert agreement.largest_shift(means, full).tolist() == [0, 3, 1]
    ahead = np.array([0, 1, 0, 0, 0, 1.0])  # the first before the third, the third before the last
    assert agreement.order_kept(means, ahead).tolist() == [1, 0, 1]
    assert agreement.error(means, full) == pytest.approx([0, 0.15, 0.05])
    assert agreement.tau_b(means, full) == pytest.approx([1, 0, 2 / 3])


# Choices

ROWS = 60


def facts(seed=0, texts=None):
    rng = np.random.default_rng(seed)
    words = [f"w{i}" for i in range(30)]
    texts = texts or [" ".join(rng.choice(words, int(rng.integers(5, 20)))) for _ in range(ROWS)]
    features = featurise(texts, FeatureSpec(buckets=500))
    keys = noise.keys(strings([f"q{i}" for i in range(len(texts))]), seed)
    strata = {"domain": np.arange(len(texts)) % 3, "length": (np.arange(len(texts)) >= 50).astype(np.int64)}
    return draws.Facts(strata, features, features, keys)


ALL = ("random", "by domain", "by length", "greedy", "logistic", "dsir", "tempered", "top-k")


def test_every_way_that_the_queries_allow_has_a_name():
    assert draws.names(facts()) == ALL
    with pytest.raises(UsageError, match="no selector 'hardest'; these queries can be chosen by random, by domain"):
        draws.draws(facts(), ["hardest"], [5])


@pytest.mark.parametrize("name", ALL)
def test_a_choice_has_the_size_asked_for_and_no_query_twice(name):
    given = facts()
    (draw,) = draws.draws(given, [name], [1, 7, 30])
    found = draw.picks(np.arange(ROWS), given.keys, [1, 7, 30])
    assert [len(set(picks.tolist())) for picks in found] == [1, 7, 30]
    again = draw.picks(np.arange(ROWS), given.keys, [1, 7, 30])
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    # The order of rows does not matter: keys belong to the queries.
    turn = np.random.default_rng(1).permutation(ROWS)
    turned = draw.picks(turn, given.keys[turn], [1, 7, 30])
    assert [set(turn[picks].tolist()) for picks in turned] == [set(picks.tolist()) for picks in found]


@pytest.mark.parametrize("name", ["greedy", "logistic", "dsir", "tempered", "top-k"])
def test_towards_a_target_the_choice_is_the_selector_s_own(name):
    whole = facts(3)
    target = featurise([f"w{i} w{i + 1} w1 w2" for i in range(10)], FeatureSpec(buckets=500))
    (draw,) = draws.draws(replace(whole, target=target), [name], [5, 20])
    for size, picks in zip((5, 20), draw.picks(np.arange(ROWS), whole.keys, [5, 20]), strict=True):
        chosen = choose_texts(name, whole.features, target, size, whole.keys).rows
        assert picks.tolist() == chosen.tolist()


@pytest.mark.parametrize("name", ["dsir", "tempered", "top-k"])
def test_towards_their_own_distribution_weights_are_alike_and_the_choice_is_random(name):
    given = facts()
    random, weighted = draws.draws(given, ["random", name], [12])
    picks = [draw.picks(np.arange(ROWS), given.keys, [12])[0].tolist() for draw in (random, weighted)]
    assert picks[0] == picks[1]


def test_each_stratum_keeps_its_share_within_one():
    given = facts()
    (draw,) = draws.draws(given, ["by length"], [6])
    seen = Counter()
    for seed in range(200):
        keys = noise.stream(given.keys, str(seed))
        for size, picks in zip((6, 13, 30), draw.picks(np.arange(ROWS), keys, [6, 13, 30]), strict=True):
            few = int((picks >= 50).sum())
            assert abs(few - size * 10 / ROWS) < 1
        seen.update(picks[:6].tolist())
    assert len(seen) == ROWS  # every query has its turn
    assert max(seen.values()) < 3 * 200 * 6 / ROWS


# Trials


def queries_of(seed, n=40, rankers=5):
    rng = np.random.default_rng(seed)
    values = np.clip(rng.random((n, 1)) + rng.normal(0, 0.2, (n, rankers)) + 0.05 * np.arange(rankers), 0, 1)
    ahead = np.zeros(rankers * (rankers - 1) // 2)
    ahead[rankers - 2] = -1.0  # the last before the first
    return trials.Queries(values, strings([f"q{i}" for i in range(n)]), np.arange(n) // 2, ahead)


def test_trials_on_the_collection_are_those_of_a_loop():
    given = queries_of(1)
    draw = draws.Stratified("by x", np.arange(40) % 2)
    found = trials.on_collection(given, draw, [4, 20], [noise.keys(given.ids, seed) for seed in (5, 6, 7)])
    full = given.values.mean(axis=0)
    for i, seed in enumerate((5, 6, 7)):
        picks = draw.picks(np.arange(40), noise.keys(given.ids, seed), [4, 20])
        for j, rows in enumerate(picks):
            means = [sum(given.values[row, r] for row in rows) / len(rows) for r in range(5)]
            order, whole = np.argsort(np.argsort(means)), np.argsort(np.argsort(full))
            expected = [
                counted_tau(means, full),
                np.abs(order - whole).max(),
                float(means[4] > means[0]),
                np.abs(np.array(means) - full).mean(),
            ]
            assert found[i, j] == pytest.approx(expected, abs=1e-12)


def test_a_choice_of_nearly_all_agrees_and_larger_ones_agree_better():
    given = queries_of(2, n=400)
    keys = [noise.keys(given.ids, seed) for seed in range(50)]
    found = trials.on_collection(given, draws.Weighted("random", np.zeros(400)), [8, 80, 399], keys)
    tau, error = found[:, :, 0].mean(axis=0), found[:, :, 3].mean(axis=0)
    assert tau[2] == 1
    assert tau[0] < tau[1] < tau[2]
    assert error[0] > error[1] > error[2]


def test_resamples_draw_whole_clusters():
    clusters = np.array([0, 0, 1, 2, 2, 2, 3])
    counts = np.zeros(4)
    for rows in trials.resampled(clusters, 2000, seed=4):
        times = np.bincount(rows, minlength=7)
        by_cluster = times[[0, 2, 3, 6]]
        assert times.tolist() == by_cluster[clusters].tolist()
        assert by_cluster.sum() == 3  # C - 1 of C
        counts += by_cluster
    assert counts / 2000 == pytest.approx([0.75] * 4, abs=0.06)


class _Recorder:
    """Chooses the first rows and remembers what it was given."""

    name, slow = "first", False

    def __init__(self):
        self.seen = []

    def picks(self, rows, keys, sizes):
        self.seen.append((rows, keys, sizes))
        return [np.arange(size) for size in sizes]


def test_copies_in_a_resample_have_noise_of_their_own_and_sizes_keep_their_share():
    given, recorder = queries_of(3), _Recorder()
    found = trials.on_resamples(given, recorder, [4, 20], 30, seed=1)
    assert found.shape == (30, 2, 4)
    for (rows, keys, sizes), row in zip(recorder.seen, found, strict=True):
        assert len(set(keys.tolist())) == len(keys) == len(rows)
        assert sizes == [max(1, round(size / 40 * len(rows))) for size in (4, 20)]
        full = given.values[rows].mean(axis=0)
        assert row[1, 3] == pytest.approx(np.abs(given.values[rows[: sizes[1]]].mean(axis=0) - full).mean())


# Smaller corpora


def searched(seed, n_docs=25, n_queries=6, rankers=3, depth=25):
    """A collection and runs of rankers that score a document without regard to the others."""
    rng = np.random.default_rng(seed)
    pairs = {(q, int(rng.integers(n_docs + 2))) for q in range(n_queries) for _ in range(3)}
    query, doc = np.array(sorted(pairs)).T
    ids = strings([f"d{i}" for i in rng.permutation(n_docs)])
    collection = Collection(
        name="c",
        doc_ids=ids,
        docs=strings([f"text {i}" for i in range(n_docs)]),
        query_ids=strings([f"q{i}" for i in range(n_queries)]),
        queries=strings([f"query {i}" for i in range(n_queries)]),
        qrels=Qrels.from_pairs(query, doc, rng.integers(0, 3, len(query)), n_queries),
    )
    scores = rng.integers(0, 6, (rankers, n_queries, n_docs)).astype(float)  # many ties
    docs = np.tile(np.arange(n_docs), (n_queries, 1))
    runs = [Run.ranked(docs, one, collection.doc_order).top(depth) for one in scores]
    return collection, scores, runs


def ranked_anew(collection, scores, query, keep, cut):
    """nDCG of one query where only kept documents are searched: sorted anew by score and id, in plain Python."""
    ids = collection.doc_ids.to_pylist()
    order = sorted(np.flatnonzero(keep).tolist(), key=lambda d: (scores[query, d], ids[d].encode()), reverse=True)[:cut]
    rows = slice(*collection.qrels.indptr[query : query + 2])
    docs, grades = (column[rows].tolist() for column in (collection.qrels.docs, collection.qrels.grades))
    grade = dict(zip(docs, grades, strict=True))
    gain = sum(grade.get(doc, 0) / np.log2(place + 2) for place, doc in enumerate(order))
    ideal = sum(g / np.log2(place + 2) for place, g in enumerate(sorted(grade.values(), reverse=True)[:cut]))
    return gain / ideal if ideal else 0.0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(0, 12), st.sets(st.integers(0, 5), min_size=1))
def test_scores_on_a_smaller_corpus_are_those_of_ranking_it_anew(seed, depth, distractors, asked):
    collection, scores, runs = searched(seed)
    queries = np.array(sorted(asked))
    shuffled = reduced.shuffled_documents(collection, seed)
    found = reduced.score(collection, runs, queries, Corpus(depth, distractors), "nDCG@3", shuffled)
    assert found.short == 0  # the runs hold all documents
    judged = {
        int(doc)
        for query, doc in zip(collection.qrels.queries, collection.qrels.docs, strict=True)
        if query in asked and doc < 25
    }
    pools = [{int(doc) for query in queries for doc in run.docs[query, :depth]} for run in runs]
    for ranker in range(3):
        kept = judged.union(*(pool for number, pool in enumerate(pools) if number != ranker))
        kept |= set([doc for doc in shuffled.tolist() if doc not in kept][:distractors])
        keep = np.isin(np.arange(25), list(kept))
        expected = [ranked_anew(collection, scores[ranker], query, keep, 3) for query in queries]
        assert found.values[:, ranker] == pytest.approx(expected, abs=1e-12)
    everything = judged.union(*pools)
    assert found.documents == min(25, len(everything) + distractors)
    further = set(reduced.distractors(collection, queries, runs, Corpus(depth, distractors), shuffled).tolist())
    assert not further & everything
    assert len(further) == min(25 - len(everything), distractors)


def test_a_run_that_ends_above_the_cut_is_counted_and_one_that_ranks_all_it_would_is_not():
    collection, _, runs = searched(1, depth=4)
    keep = np.zeros(25, bool)
    keep[runs[0].docs[2, :2]] = True
    found, short = reduced.filtered(runs[0], np.array([2]), keep, 3)
    assert found.docs.tolist() == [[*runs[0].docs[2, :2].tolist(), -1]]
    assert short.tolist() == [True]
    docs = runs[0].docs.copy()
    docs[2, 3] = -1  # this ranker ranks three documents for the query, and no more
    _, short = reduced.filtered(Run(docs, runs[0].scores), np.array([2]), keep, 3)
    assert short.tolist() == [False]
    with pytest.raises(UsageError, match="AP reads whole rankings"):
        reduced.cut_of("AP")


def test_a_ranker_that_fed_the_pool_keeps_its_scores():
    collection, _, runs = searched(5)
    queries = np.arange(6)
    keep = np.zeros(25, bool)
    keep[runs[0].docs[:, :3].ravel()] = True
    found, _ = reduced.filtered(runs[0], queries, keep, 3)
    full = measures.score(runs[0], collection.qrels, ("nDCG@3",))["nDCG@3"]
    assert measures.score(found, collection.qrels, ("nDCG@3",))["nDCG@3"].tolist() == full.tolist()


# The study, on results of real rankers

RANKERS = ("bm25", "wordllama", "toy_rankers:Length", "toy_rankers:Vowels")
OWN = """
import numpy as np
from posbench.types import Run
class Ranker:
    def describe(self):
        return {'kind': type(self).__name__}
    def rank(self, collection, candidates=None):
        scores = np.array([self.score(text) for text in collection.docs.to_pylist()])
        n, d = len(collection.query_ids), len(scores)
        return Run.ranked(np.tile(np.arange(d), (n, 1)), np.tile(scores, (n, 1)), collection.doc_order)
class Length(Ranker):
    def score(self, text):
        return len(text)
class Vowels(Ranker):
    def score(self, text):
        return sum(text.count(letter) for letter in 'aeiou') / len(text)
"""


@pytest.fixture(scope="module")
def ranked(tmp_path_factory):
    """posir-mini/spa ranked by two real rankers and two that never read the query."""
    root = tmp_path_factory.mktemp("mini")
    (root / "toy_rankers.py").write_text(OWN)
    places = experiment.Settings(out=root / "out", cache=root / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root))
        for model in RANKERS:
            experiment.run("posir-mini/spa", model, places)
    return root


def asked(root, **changes):
    results = choose(Results(root / "out"), [], "posir-mini/spa-Latn")
    collections = loaders.load("posir-mini/spa")
    plan = Plan(**{"sizes": (0.1, 0.5), "seeds": 10, "resamples": 40, "spec": FeatureSpec(buckets=500), **changes})
    return results, collections, plan


def test_the_study_is_stored_and_its_summary_follows_from_its_rows(ranked, tmp_path):
    results, collections, plan = asked(ranked)
    places = experiment.Settings(out=tmp_path, seed=3)
    outcome = study.run(results, collections, plan, places)
    assert outcome.fresh
    again = study.run(results, collections, plan, places)
    assert not again.fresh
    assert again.summary == outcome.summary
    other = study.run(results, collections, replace(plan, by="queries"), places)
    assert other.fresh
    assert outcome.result.kind == "mini"
    found = outcome.summary
    assert {one["name"] for one in found["rankers"]} == set(RANKERS)
    assert found["queries"] == 120
    assert ["bm25", "toy_rankers:Length"] in found["known"]
    names = [one["name"] for one in found["selectors"]]
    assert names[:2] == ["random", "by domain"]
    assert {"by length", "by position", *ALL[3:]} <= set(names)
    # Restated from the rows, and the rows from the stored per-query values.
    rows = outcome.report.queries.to_pylist()
    first = found["selectors"][0]["sizes"][0]
    mine = [row for row in rows if row["selector"] == "random" and row["size"] == 12]
    on_all = [row["tau"] for row in mine if row["resample"] < 0]
    drawn = [row["tau"] for row in mine if row["resample"] >= 0]
    assert (len(on_all), len(drawn)) == (10, 40)
    assert first["tau"] == pytest.approx(np.mean(on_all))
    assert first["interval"] == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist())
    assert first["reach"] == pytest.approx(np.mean([tau >= 0.9 for tau in on_all]))
    values = np.stack([result.report().values("nDCG@10") for result in results.values()], axis=1)
    for row in mine[:3]:
        keys = noise.keys(subject(results, collections, "nDCG@10").queries.ids, row["seed"])
        picks = draws.Weighted("random", np.zeros(120)).picks(np.arange(120), keys, [12])[0]
        assert row["tau"] == pytest.approx(counted_tau(values[picks].mean(axis=0), values.mean(axis=0)))


def test_the_smallest_is_the_one_from_which_on_all_will_do():
    sizes = [{"size": k, "interval": [low, 1], "tau": low, "kept_resampled": low} for k, low in ((5, 0.95), (9, 0.8))]
    assert summary._smallest(sizes, 0.9, True)["smallest"] is None
    sizes.append({"size": 20, "interval": [0.92, 1], "tau": 0.93, "kept_resampled": 0.9})
    assert summary._smallest(sizes, 0.9, True) == {"smallest": 20, "smallest_on_average": 20, "smallest_known": None}
    assert summary._smallest(sizes[::2], 0.9, True)["smallest"] == 5
    assert summary._smallest(sizes[:1], 0.9, True)["smallest_known"] == 5
    assert summary._smallest(sizes[:1], 0.9, False)["smallest_known"] is None


def test_impossible_studies_are_refused(ranked):
    results, collections, plan = asked(ranked)
    with pytest.raises(UsageError, match=r"found 2 rankers .* expected results of three or more"):
        subject(dict(list(results.items())[:2]), collections, "nDCG@10")
    with pytest.raises(UsageError, match="when its content was another"):
        subject(results, loaders.load("posir-mini/eng"), "nDCG@10")
    with pytest.raises(UsageError, match="a selection of 120 queries; the collection has 120"):
        replace(plan, sizes=(120,)).counts(120)
    with pytest.raises(UsageError, match="expected shares below 1, or whole numbers"):
        Plan(sizes=(1.5,))
    with pytest.raises(UsageError, match="a pool of depth 5 is below the cut"):
        Plan(corpus=Corpus(5))
    with pytest.raises(UsageError, match="0 seeds"):
        Plan(seeds=0)


def test_a_study_of_several_parts_chooses_over_all_of_them(ranked, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ranked))
    places = experiment.Settings(out=tmp_path / "out", cache=ranked / "cache")
    each = [loaders.load(f"posir-mini/{language}")[0] for language in ("eng", "spa")]
    write(tmp_path / "two", [subset(part, range(100), range(len(part.doc_ids))) for part in each], {})
    for model in RANKERS:
        experiment.run(str(tmp_path / "two"), model, places)
    results, collections = choose(Results(tmp_path / "out"), []), loaders.load(str(tmp_path / "two"))
    found = subject(results, collections, "nDCG@10")
    assert len(collections) == 2
    assert "part" in found.strata
    texts = found.texts("queries").to_pylist()
    for at in (0, 130, len(texts) - 1):
        part = collections[found.part[at]]
        assert texts[at] == part.queries[int(found.row[at])].as_py()
        assert found.table["query_id"][at].as_py() == part.query_ids[int(found.row[at])].as_py()
    plan = Plan(sizes=(0.2,), selectors=("by part",), seeds=4, resamples=20, corpus=Corpus(10, 5))
    outcome = study.run(results, collections, plan, places)
    later = outcome.summary["selectors"][0]["sizes"][0]["later"]
    assert later["short"] == 0
    assert 0 < later["documents"] <= sum(len(part.doc_ids) for part in collections)
    assert later["later_rise"] >= 0  # a smaller corpus is never harder


# The command


def run_mini(root, *arguments):
    return main(["mini", "--out", str(root / "out"), "--cache", str(root / "cache"), *map(str, arguments)])


QUICK = ("--sizes", "0.1,0.5", "--seeds", "6", "--resamples", "20")


def test_the_command_writes_a_mini_benchmark_that_eval_runs(ranked, capsys, tmp_path):
    capsys.readouterr()
    to = tmp_path / "few"
    asked_for = ("--dataset", "posir-mini/spa", *QUICK, "--selector", "by domain", "--size", "0.1", "--to", to)
    assert run_mini(ranked, *asked_for, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["written"]["queries"] == 12
    assert found["written"]["documents"] == 48
    (part,) = loaders.load(str(to))
    entry = part.source["selection"]
    assert (entry["selector"], entry["seed"], entry["queries"], entry["rankers"]) == (
        "by domain",
        0,
        12,
        sorted(RANKERS),
    )
    size = next(one for one in found["selectors"] if one["name"] == "by domain")["sizes"][0]
    assert entry["figures"]["tau"] == size["tau"]
    before = (to / "selection.json").read_bytes()
    assert run_mini(ranked, *asked_for) == 0
    shown = capsys.readouterr().out
    assert (to / "selection.json").read_bytes() == before
    assert "(computed before; --again computes it anew)" in shown
    assert "smallest selection with" in shown
    assert "next: posbench eval --dataset" in shown
    small = tmp_path / "small"
    reduced_too = ("--size", "2", "--pool-depth", "10", "--distractors", "3", "--selectors", "random,by domain")
    assert run_mini(ranked, *asked_for[:-1], small, *reduced_too) == 0
    assert "smaller corpus, a new ranker" in capsys.readouterr().out
    (less,) = loaders.load(str(small))
    assert set(less.query_ids.to_pylist()) < set(part.query_ids.to_pylist())
    assert less.source["selection"]["distractors"] == 3
    assert len(less.doc_ids) < 48
    assert main(["eval", "--dataset", str(small), "--model", "bm25", "--out", str(tmp_path / "o"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["selection"]["queries"] == [2, 120]


def test_nothing_is_written_where_nothing_will_do(ranked, capsys, tmp_path):
    arguments = ("--dataset", "posir-mini/spa", "--sizes", "1,2", "--seeds", "5", "--resamples", "20", "--tau", "1")
    assert run_mini(ranked, *arguments, "--to", tmp_path / "none") == 2
    assert "no size tried keeps a tau of 1 for certain" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_study_is_drawn_and_listed(ranked, capsys, tmp_path, rows_of):
    assert run_mini(ranked, "--dataset", "posir-mini/spa", *QUICK, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    target = tmp_path / "chart.json"
    assert main(["plot", found["result"], "--kind", "mini", "--to", str(target)]) == 0
    chart = json.loads(target.read_text())
    drawn = {(row["selector"], row["queries"]): row for row in rows_of(chart) if "selector" in row}
    for one in found["selectors"]:
        if not one["same_as"]:
            for size in one["sizes"]:
                row = drawn[one["name"], size["size"]]
                assert [row["low"], row["high"]] == size["interval"]
                assert row["tau"] == size["tau"]
    assert "dsir chooses as random" in chart["title"]["subtitle"][-1]
    pytest.importorskip("vl_convert")
    assert plots.svg(chart).startswith("<svg")
    capsys.readouterr()
    assert main(["runs", "--out", str(ranked / "out")]) == 0
    assert "  mini  mini  tau " in capsys.readouterr().out
    assert main(["plot", found["result"], "--kind", "curves", "--to", str(target)]) == 2
    assert "is of `posbench mini`" in capsys.readouterr().err


def test_wrong_options_are_refused(ranked, capsys):
    for arguments, message in (
        (("--sizes", "many"), "--sizes 'many'; expected numbers"),
        (("--distractors", "5"), "--distractors needs --pool-depth"),
        (("--selectors", "best"), "no selector 'best'"),
        (("--measure", "AP,RR"), "expected one measure"),
        (("--measure", "AP", "--pool-depth", "20"), "AP reads whole rankings"),
    ):
        assert run_mini(ranked, "--dataset", "posir-mini/spa", *arguments) == 2
        assert message in capsys.readouterr().err
    assert Path(ranked / "out").is_dir()
