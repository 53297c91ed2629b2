"""The published figures tested anew: exact tests against enumeration and scipy, the real files, and bad files."""

import csv
import json
from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from posbench import correlation
from posbench.bias import posir
from posbench.cli import main
from posbench.errors import DataError, UsageError
from posbench.studies import claims
from posbench.studies.findings import findings
from posbench.studies.floor import noise_floor
from posbench.studies.published import GROUPS, read_mteb, read_posir
from posbench.studies.simulated import Truth, simulate


@pytest.mark.parametrize("ties", [False, True])
def test_spearman_and_its_exact_test_agree_with_enumeration(ties):
    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = rng.integers(0, 4, (2, 6)).astype(float) if ties else rng.random((2, 6))
        expected = stats.spearmanr(a, b).statistic
        assert correlation.spearman(a, b) == pytest.approx(expected)
        ranks = stats.rankdata(a) - 3.5
        every = np.abs(np.array(list(permutations(stats.rankdata(b)))) @ ranks)
        exact = np.mean(every >= abs(ranks @ stats.rankdata(b)) - 1e-9)
        assert correlation.spearman_p(a, b) == pytest.approx(exact)


def test_drawn_orders_agree_with_exact_ones(monkeypatch):
    a, b = np.random.default_rng(1).random((2, 9))
    exact = correlation.spearman_p(a, b)
    monkeypatch.setattr(correlation, "EXACT_ITEMS", 5)
    assert correlation.spearman_p(a, b) == pytest.approx(exact, abs=0.01)


def test_the_difference_of_two_correlations_by_all_exchanges():
    rng = np.random.default_rng(2)
    first, second, target = rng.random((3, 7))
    seen = stats.spearmanr(first, target).statistic - stats.spearmanr(second, target).statistic
    a, b = stats.rankdata(first), stats.rankdata(second)
    null = []
    for swap in product((False, True), repeat=7):
        one, other = np.where(swap, b, a), np.where(swap, a, b)
        null.append(stats.spearmanr(one, target).statistic - stats.spearmanr(other, target).statistic)
    found = correlation.difference(first, second, target)
    assert found.value == pytest.approx(seen)
    assert found.p == pytest.approx(np.mean(np.abs(null) >= abs(seen) - 1e-9))
    assert found.interval[0] < found.value < found.interval[1]


def pairs(rho, n, count, seed):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((count, n))
    return a, rho * a + np.sqrt(1 - rho**2) * rng.standard_normal((count, n))


def test_the_detectable_correlation_is_found_in_about_four_of_five_cases():
    a, b = pairs(correlation.detectable(10), 10, 120, 0)
    found = np.mean([correlation.spearman_p(x, y) < 0.05 for x, y in zip(a, b, strict=True)])
    assert 0.68 < found < 0.92
    assert np.isnan(correlation.detectable(3))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_intervals_of_rho_cover_the_truth_with_ten_items(rho):
    """The true Spearman correlation of a bivariate normal is 6 / pi arcsin(rho / 2)."""
    a, b = pairs(rho, 10, 2000, 1)
    truth = 6 / np.pi * np.arcsin(rho / 2)
    low, high = np.array([correlation.interval(float(r), 10) for r in correlation.spearman(a, b)]).T
    assert 0.93 <= np.mean((low <= truth) & (truth <= high)) <= 0.99


def test_the_noise_floor_is_what_queries_drawn_one_by_one_give():
    queries = simulate(40_000, Truth(), 5).queries
    rng = np.random.default_rng(0)
    drawn = rng.choice(queries.score, (300, 20, 100)).mean(axis=2)
    floor = noise_floor(np.array([queries.score.mean()]), 100)
    assert floor.mean[0] == pytest.approx(posir.psi(drawn).mean(), abs=0.01)
    assert floor.high[0] == pytest.approx(np.quantile(posir.psi(drawn), 0.95), abs=0.02)
    assert (np.diff([noise_floor(np.array([0.5]), n).mean[0] for n in (50, 150, 500)]) < 0).all()


def files(shared):
    return shared / "posir" / "paper_metrics_10_models.json", shared / "mteb_retrieval_scores.csv"


def test_the_real_figures_restated_with_scipy(shared):
    paper, mteb = files(shared)
    found = findings(paper, mteb)
    content = json.loads(paper.read_text())
    with mteb.open(newline="") as file:
        rows = list(csv.DictReader(file))
    target = [np.mean([float(row["main_score"]) for row in rows if row["posir_name"] == model]) for model in content]
    for name, chosen in (
        ("monolingual", [s for s in content["bge-m3"] if s[:3] == s[4:]]),
        ("eng-eng", ["eng-eng"]),
        ("cross-lingual", [s for s in content["bge-m3"] if s[:3] != s[4:]]),
    ):
        assert found["settings"][name]["settings"] == chosen
        for group in GROUPS:
            key = "nDCG@10" if group == "all" else f"nDCG@10({group})"
            scores = [np.mean([content[model][setting][key] for setting in chosen]) for model in content]
            figure = found["settings"][name]["correlations"][group]
            assert figure["rho"] == pytest.approx(stats.spearmanr(scores, target).statistic)
            kendall = stats.kendalltau(scores, target, method="exact")
            assert (figure["tau"], figure["tau_p"]) == pytest.approx((kendall.statistic, kendall.pvalue))
            centred = stats.rankdata(target) - 5.5
            test = stats.permutation_test(
                (stats.rankdata(scores),),
                lambda x, axis, ranks=centred: (x * ranks).sum(axis=axis),
                permutation_type="pairings",
                vectorized=True,
                n_resamples=20_000,
                rng=np.random.default_rng(0),
            )
            assert figure["p"] == pytest.approx(test.pvalue, abs=0.015)
            z, error = np.arctanh(figure["rho"]), np.sqrt((1 + figure["rho"] ** 2 / 2) / 7)
            assert figure["interval"] == pytest.approx(list(np.tanh(z + np.array([-1, 1]) * 1.959964 * error)))
            assert figure["without"][0] < figure["rho"] < figure["without"][1]


def test_what_the_real_figures_say(shared):
    found = findings(*files(shared))
    verdicts = {row["claim"]: row["verdict"] for row in found["claims"]}
    assert verdicts["scores on documents over 1,536 tokens correlate poorly with MTEB"] == "undecided"
    assert verdicts["most models show primacy"] == "not testable"
    assert verdicts["PSI grows with document length (without what noise adds)"] == "supported"
    assert found["detectable"] == pytest.approx(0.8, abs=0.01)
    assert found["size"]["items"] == 10
    english = found["settings"]["eng-eng"]["psi"]
    assert english["published"]["NV-Embed-v2"]["Q4"] == pytest.approx(0.573, abs=5e-4)
    assert english["noise"]["NV-Embed-v2"]["Q4"] < 0.15
    assert 0 < english["within_noise_by_length"]["Q1"] < 10


def figures(rho_q4, n=40):
    """Files of n made-up models whose Q1 follows MTEB and whose Q4 does so with the given weight; PSI is all noise."""
    rng = np.random.default_rng(0)
    truth, other = rng.random((2, n)) - 0.5
    other -= truth * (truth @ other) / (truth @ truth)
    truth, other = ((x - x.min()) / (x.max() - x.min()) for x in (truth, other))
    noise = rng.random((3, n))
    paper, rows = {}, []
    for i in range(n):
        row = {"PSI": 0.2, "nDCG@10": 0.5}
        for k in range(1, 5):
            weight = 1 - (1 - rho_q4) * (k - 1) / 3
            row[f"nDCG@10(Q{k})"] = 0.2 + 0.6 * (weight * truth[i] + (1 - weight) * other[i])
            row[f"PSI(Q{k})"] = 0.1 + 0.05 * rng.random()
        paper[f"m{i}"] = {"eng-eng": row}
        rows += [f"m{i},t{t},{0.1 + 0.8 * truth[i] + 0.01 * noise[t, i]:.6f}" for t in range(3)]
    return paper, "\n".join(["posir_name,task,main_score", *rows])


@pytest.mark.parametrize(
    ("weight", "expected"), [(0.0, ["supported", "supported"]), (1.0, ["contradicted", "undecided"])]
)
def test_with_models_enough_claims_are_decided(tmp_path, weight, expected):
    paper, table = figures(weight)
    (tmp_path / "p.json").write_text(json.dumps(paper))
    (tmp_path / "m.csv").write_text(table)
    found = findings(tmp_path / "p.json", tmp_path / "m.csv", ["monolingual"])
    verdicts = [row["verdict"] for row in found["claims"]]
    assert verdicts[:2] == expected
    assert verdicts[2] == "undecided"
    assert verdicts[-1] == "not testable"


@pytest.mark.parametrize(("models", "message"), [(4, "found 4 models; expected 5 or more"), (0, "all models have")])
def test_what_has_no_correlation_is_refused(tmp_path, models, message):
    paper, table = figures(0.0)
    kept = dict(list(paper.items())[:models]) if models else paper
    lines = table.splitlines()
    if not models:
        lines = [lines[0], *(line.rpartition(",")[0] + ",0.5" for line in lines[1:])]
    (tmp_path / "p.json").write_text(json.dumps(kept))
    (tmp_path / "m.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=message):
        findings(tmp_path / "p.json", tmp_path / "m.csv", ["monolingual"])


def test_no_correlation_is_claimed_only_of_a_narrow_interval():
    wide = {"rho": 0.0, "interval": [-0.6, 0.6], "p": 1.0, "items": 10}
    assert claims._no_size(wide)["verdict"] == "undecided"
    assert claims._no_size({**wide, "interval": [-0.2, 0.2]})["verdict"] == "supported"
    assert claims._no_size({**wide, "interval": [0.1, 0.9], "p": 0.01})["verdict"] == "contradicted"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda paper: paper.clear(), "holds dict; expected an object"),
        (lambda paper: paper["m0"]["eng-eng"].pop("PSI(Q2)"), r"m0 > eng-eng > PSI\(Q2\): None; expected a fraction"),
        (lambda paper: paper["m1"]["eng-eng"].update(PSI=61.5), "m1 > eng-eng > PSI: 61.5; expected a fraction"),
        (lambda paper: paper["m1"].update({"x-y": {}}), "m1 and m0 differ in their settings"),
        (lambda paper: paper["m0"].update(english={}), "setting 'english'; expected query and document language"),
    ],
)
def test_a_broken_posir_file_is_refused(tmp_path, change, message):
    paper, _ = figures(1.0, 4)
    change(paper)
    (tmp_path / "p.json").write_text(json.dumps(paper))
    with pytest.raises(DataError, match=message):
        read_posir(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,task\n", "expected posir_name, task, main_score"),
        ("posir_name,task,main_score\nm0,t,0.5\n", "m1 has no row for t"),
        ("posir_name,task,main_score\nm0,t,0.5\nm0,t,0.6\n", "line 3: m0 on t stands twice"),
        ("posir_name,task,main_score\nm0,t,55.1\n", "line 2: main_score: '55.1'; expected a fraction"),
    ],
)
def test_a_broken_mteb_file_is_refused(tmp_path, text, message):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_mteb(tmp_path / "m.csv", ["m0", "m1"])


def test_the_command(capsys, shared, tmp_path):
    paper, mteb = files(shared)
    arguments = ["findings", "--posir", str(paper), "--mteb", str(mteb), "--settings", "eng-eng"]
    assert main([*arguments, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["settings"]) == ["eng-eng"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    for text in ("0.573", "undecided: scores on documents over 1,536 tokens", "within the noise", "one left out"):
        assert text in out
    with pytest.raises(UsageError, match="no setting 'xx'"):
        findings(paper, mteb, ["xx"])
    assert main(["findings", "--posir", str(tmp_path / "none"), "--mteb", str(mteb)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
