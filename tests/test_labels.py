"""Labels for training: complete rankings in 45 windows, the weights of their tokens, and the example that uses both."""

import importlib.util
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from posbench import cli
from posbench.rankers.listwise import known
from posbench.rankers.listwise.answers import written
from posbench.rankers.listwise.importance import token_weights

SCRIPT = Path(__file__).parents[1] / "examples" / "train_importance_loss.py"


def worth(query, text):
    return float(text.split()[-1]) if text.startswith(query + " ") else -1.0


def typed(folder, *more):
    command = [
        "labels",
        "--dataset",
        str(folder / "data"),
        "--model",
        str(folder / "first.run"),
        "--cache",
        str(folder),
    ]
    return [*command, "--rerank", str(folder / "listwise.toml"), "--to", str(folder / "labels.jsonl"), "--json", *more]


def test_a_hundred_candidates_take_45_windows_and_nine_whole_passes_81(lists, answering, capsys):
    folder = lists(3, 100)
    with answering(known.Knowing(worth)):
        assert cli.main(typed(folder)) == 0
        found = json.loads(capsys.readouterr().out)
        recipe = folder / "listwise.toml"
        recipe.write_text('strategy = "sliding"\npasses = 9\n' + recipe.read_text())
        assert cli.main(typed(folder, "--own-strategy")) == 0
        whole = json.loads(capsys.readouterr().out)
    assert (found["windows"], whole["windows"]) == (3 * 45, 3 * 81)
    assert (found["queries"], found["clean"]) == (3, 3)
    rows = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    texts = {
        row["_id"]: row["text"] for row in map(json.loads, (folder / "data/corpus.jsonl").read_text().splitlines())
    }
    assert [row["qid"] for row in rows] == ["q0", "q1", "q2"]
    assert found["tau"] != 1
    for row in rows:
        assert sorted(row["final_list"]) == sorted(row["initial_list"])
        assert row["final_list"] == sorted(row["initial_list"], key=lambda doc: -float(texts[doc].split()[-1]))


def test_labels_of_short_lists_and_of_some_queries(lists, answering, capsys):
    folder = lists(3, 7)
    with answering(known.Knowing(worth)):
        assert cli.main(typed(folder, "--queries", "2", "--depth", "1")) == 0
        assert json.loads(capsys.readouterr().out)["windows"] == 0
        assert cli.main(typed(folder, "--queries", "2")) == 0
        assert json.loads(capsys.readouterr().out)["windows"] == 2
    assert len((folder / "labels.jsonl").read_text().splitlines()) == 2


def test_what_makes_no_labels_is_refused(lists, capsys):
    folder = lists(2, 5)
    assert cli.main([*typed(folder), "--to", "labels.txt"]) == 2
    assert "ends in .jsonl" in capsys.readouterr().err
    recipe = folder / "listwise.toml"
    recipe.write_text("top = 3\n" + recipe.read_text())
    assert cli.main(typed(folder)) == 2
    assert "labels need all" in capsys.readouterr().err


def test_weights_fall_with_the_rank_whatever_the_tokens():
    label = written([2, 0, 11])
    characters = [(at, at + 1) for at in range(len(label))]
    found = token_weights(label, characters, alpha=0.5)
    wanted = []
    for rank, part in enumerate(re.split(" > ", label), 1):
        wanted += ([0.5] * 3 if rank > 1 else []) + [1 + 1 / math.log2(rank + 1)] * len(part)
    np.testing.assert_allclose(found, wanted)
    whole = token_weights(label, [(0, 3), (3, 5), (5, 9), (9, 16), (0, 0)])
    np.testing.assert_allclose(whole, [2, 1, 1 + 1 / math.log2(3), 1.5, 1])
    hundred = token_weights(written(range(100)), [(0, 3), (len(written(range(100))) - 5, len(written(range(100))))])
    np.testing.assert_allclose(hundred, [2, 1 + 1 / math.log2(101)])
    assert token_weights("", []).shape == (0,)


@pytest.fixture(scope="module")
def script():
    pytest.importorskip("transformers")
    spec = importlib.util.spec_from_file_location("train_importance_loss", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_loss_with_weights_of_one_is_the_models_own(script, tiny_llm):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(tiny_llm), AutoModelForCausalLM.from_pretrained(tiny_llm)
    tokens, labels, weights = script.example(tokenizer, "rank these", "[2] > [1]", 1.0, 100)
    assert labels[-1] == tokenizer.eos_token_id
    kept = [token for token in labels if token != script.IGNORED][:-1]
    assert tokenizer.decode(kept) == "[2] > [1]"
    ids, wanted = torch.tensor([tokens]), torch.tensor([labels])
    logits = model(ids).logits
    own = model(ids, labels=wanted).loss
    ones = torch.ones_like(wanted, dtype=torch.float)
    assert script.importance_loss(logits, wanted, ones).item() == pytest.approx(own.item(), rel=1e-5)
    assert script.importance_loss(logits, wanted, torch.tensor([weights])).item() > own.item()
    cut = script.example(tokenizer, "rank these " * 50, "[2] > [1]", 1.0, 30)
    assert len(cut[0]) == 30


def test_the_example_trains_on_labels(script, lists, answering):
    folder = lists(3, 5)
    with answering(known.Knowing(worth)):
        assert cli.main(typed(folder)) == 0
    command = [sys.executable, str(SCRIPT), "--labels", str(folder / "labels.jsonl"), "--dataset", str(folder / "data")]
    command += ["--to", str(folder / "tuned"), "--steps", "12", "--rate", "0.01", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    losses = [float(line.split()[-1]) for line in done.stdout.splitlines()]
    assert len(losses) == 12
    assert losses[-1] < 0.7 * losses[0]
    assert (folder / "tuned" / "model.safetensors").is_file()
