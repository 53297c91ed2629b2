"""Strategies side by side: what each costs, and that a budget is kept."""

import json

import pytest

from posbench import cli
from posbench.listwise import ListwiseRecipe
from posbench.rankers.listwise import known, planning
from posbench.rankers.listwise.ranker import Listed, ListwiseRanker
from posbench.rankers.llm.instant import InstantBackend
from posbench.reranking import Backend
from posbench.sources import Source

N = 100


def worth(query, text):
    return float(text.split()[-1]) if text.startswith(query + " ") else -1.0


@pytest.fixture
def folder(lists):
    return lists(6, N)


@pytest.fixture
def typed(folder):
    command = ["rerank-strategies", "--dataset", str(folder / "data"), "--model", str(folder / "first.run")]
    command += ["--rerank", str(folder / "listwise.toml"), "--out", str(folder / "out")]
    return [*command, "--cache", str(folder / "cache")]


def test_an_oracle_shows_what_each_strategy_costs_and_what_a_budget_pays_for(typed, answering, capsys):
    with answering(known.Knowing(worth)):
        assert cli.main([*typed, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    arms = {one["strategy"]: one for one in found["arms"][:4]}
    assert {name: (one["calls"], one["rounds"]) for name, one in arms.items()} == {
        "full": (1, 1),
        "sliding": (9, 9),
        "top-down": (7, 3),
        "consistency": (3, 1),
    }
    assert arms["full"]["value"] == arms["sliding"]["value"] == 1
    assert found["first_stage"] < 0.5
    assert found["budget"] == arms["full"]["tokens"] < arms["top-down"]["tokens"] < arms["sliding"]["tokens"]
    assert all(one["seconds"] is not None for one in found["arms"][:4])
    again = {one["strategy"]: one for one in found["arms"][4:]}
    assert set(again) == {"sliding", "top-down", "consistency"}
    for name, one in again.items():
        assert one["tokens"] <= found["budget"] * 1.05
        assert one["tokens"] >= found["budget"] * 0.8
        assert one["depth"] < N
        assert one["value"] < arms[name]["value"]  # an oracle only loses what it is not shown
        assert one["change"] < 0
        assert one["p"] <= 1


def test_a_finished_comparison_is_read_and_a_given_budget_is_kept(typed, answering, capsys):
    with answering(known.Knowing(worth)):
        assert cli.main([*typed, "--strategies", "sliding,full", "--budget", "1000", "--json"]) == 0
        first = json.loads(capsys.readouterr().out)
        assert cli.main([*typed, "--strategies", "sliding,full", "--budget", "1000", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == first
        assert cli.main([*typed, "--strategies", "sliding,full", "--budget", "1000", "--again", "--json"]) == 0
        assert all(one["seconds"] is None for one in json.loads(capsys.readouterr().out)["arms"])  # nothing was asked
    assert first["budget"] == 1000
    assert [one["arm"] for one in first["arms"][:2]] == ["sliding@100", "full@100"]
    assert all(one["tokens"] <= 1000 * 1.05 for one in first["arms"][2:])
    assert len(first["arms"]) == 4


def test_the_table_is_printed_and_wrong_names_are_refused(typed, capsys):
    assert cli.main([*typed, "--queries", "2", "--depth", "30"]) == 0
    said = capsys.readouterr().out
    for text in ("full@30", "sliding@30 *", "calls", "depth", "100.0%", "above the budget"):
        assert text in said
    for wrong in ("full,full", "fastest", ""):
        assert cli.main([*typed, "--strategies", wrong]) == 2
        assert "each once" in capsys.readouterr().err


@pytest.mark.parametrize("strategy", ["full", "sliding", "top-down", "consistency", "multipass"])
def test_plans_cost_what_the_real_thing_costs(tmp_path, tiny_llm, strategy):
    backend = Backend(engine="instant", source=(Source(path=str(tiny_llm)),))
    recipe = ListwiseRecipe(description="d", licence="l", backend=backend, strategy=strategy)
    lists = [Listed("a query", tuple(f"passage {number} of {n}" for number in range(n))) for n in (45, 8)]
    copier = InstantBackend(backend, tmp_path, known.copying)
    real = ListwiseRanker(recipe, cache=None, backend=copier)
    real.rerank(lists)
    cost = real.facts()["cost"]
    assert planning.tokens(recipe, copier, lists) * 2 == cost["prompt_tokens"] + cost["answer_tokens"]
