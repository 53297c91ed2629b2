"""vLLM, in this process and as a server on this machine, with a random model: an optional job, see CONTRIBUTING.md."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec

import numpy as np
import pytest

from posbench.errors import BackendError, UsageError
from posbench.rankers import llm
from posbench.rankers.llm.calls import Constraint, Message, Request, Sampling
from posbench.rankers.llm.client import Client
from posbench.reranking import Backend
from posbench.sources import Source

pytestmark = [
    pytest.mark.skipif(
        find_spec("vllm") is None, reason="vllm is not installed: CONTRIBUTING.md says how to run these"
    ),
    pytest.mark.filterwarnings("ignore"),  # of vLLM and what it imports
]

BEGIN = "the query is about bees and honey in the comb, where it is kept in winter; " * 3
PROMPTS = [BEGIN + "bees keep honey", BEGIN + "a lens", BEGIN, BEGIN + "x" * 60]
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}
CONTEXT = 4096


def chats(**fields):
    return [Request((Message("user", text),), **fields) for text in PROMPTS]


@pytest.fixture(scope="module")
def folder(tiny_llm, tmp_path_factory):
    """The tiny model's tokenizer with heads as wide as vLLM computes on a CPU, and room for lists."""
    import torch
    import transformers

    target = tmp_path_factory.mktemp("vllm") / "model"
    shutil.copytree(tiny_llm, target)
    config = transformers.AutoConfig.from_pretrained(str(target))
    config.head_dim, config.max_position_embeddings = 64, CONTEXT
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(str(target))
    return target


@pytest.fixture(scope="module")
def plain(folder):
    """The same model by transformers, of which vLLM's answers must be."""
    return llm.backend(Backend(engine="transformers", source=(Source(path=str(folder)),)), folder.parent)


@pytest.fixture(scope="module")
def in_process(folder):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        recipe = Backend(engine="vllm", source=(Source(path=str(folder)),), engine_args={"dtype": "float32"})
        made = llm.backend(recipe, folder.parent)
        list(made.answers([Request(text="x")], Sampling(max_tokens=1)))
        yield made
        made._engine.llm_engine.engine_core.shutdown()


@pytest.fixture(scope="module")
def served(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # What `vllm serve` runs; the CPU build has no such command, since it looks for a package of the name vllm.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += [
        "--served-model-name",
        "m",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--dtype",
        "float32",
        "--enable-prompt-tokens-details",
    ]
    command += ["--structured-outputs-config.backend", "guidance"]
    log = (folder.parent / "serve.log").open("w")
    process = subprocess.Popen(command, env={**os.environ, **ENVIRONMENT}, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 300
        while not _up(port):
            assert process.poll() is None, (folder.parent / "serve.log").read_text()[-4000:]
            assert time.monotonic() < until, "vllm serve is not up after 300 s"
            time.sleep(0.5)
        recipe = {"engine": "openai", "dialect": "vllm", "url": f"http://127.0.0.1:{port}/v1", "model": "m"}
        yield llm.backend(Backend(**recipe, source=(Source(path=str(folder)),)), folder.parent)
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def _up(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture(params=["in_process", "served"], scope="module")
def model(request):
    return request.getfixturevalue(request.param)


def ask(backend, requests, sampling):
    return Client(backend, None).ask(requests, sampling)


def said(answer):
    """An answer's text without the first bytes of a character at its end, which vLLM leaves out."""
    return answer.text.rstrip("\N{REPLACEMENT CHARACTER}")


def test_greedy_answers_their_counts_and_alternatives_are_those_of_transformers(model, plain):
    sampling = Sampling(max_tokens=6, top=3)
    for request, answer, other in zip(
        chats(), ask(model, chats(), sampling), ask(plain, chats(), sampling), strict=True
    ):
        assert answer.prompt_tokens == len(model.tokens.ids([request])[0])
        assert (said(answer), answer.finish, answer.answer_tokens) == (said(other), other.finish, other.answer_tokens)
        assert len(answer.tokens) == answer.answer_tokens
        for token, wanted in zip(answer.tokens, other.tokens, strict=True):
            assert token.logprob == pytest.approx(wanted.logprob, abs=1e-3)
            np.testing.assert_allclose([v for _, v in token.top], [v for _, v in wanted.top], atol=1e-3)


def test_log_probabilities_of_given_texts_are_those_of_transformers(model, plain):
    requests = [*chats(target="the answer"), Request(text="", target="yes"), Request(text=BEGIN, target=" bees")]
    for answer, wanted in zip(ask(model, requests, Sampling()), ask(plain, requests, Sampling()), strict=True):
        assert (answer.finish, answer.text, answer.prompt_tokens) == ("target", "", wanted.prompt_tokens)
        assert [token.text for token in answer.tokens] == [token.text for token in wanted.tokens]
        np.testing.assert_allclose(
            [token.logprob for token in answer.tokens], [token.logprob for token in wanted.tokens], atol=1e-3
        )


def test_an_opening_is_part_of_the_prompt(model, plain):
    requests = chats(opening="the answer is ")
    sampling = Sampling(max_tokens=4, top=1)
    found, wanted = ask(model, requests, sampling), ask(plain, requests, sampling)
    assert [one.prompt_tokens for one in found] == [len(ids) for ids in model.tokens.ids(requests)]
    assert [said(one) for one in found] == [said(one) for one in wanted]


def test_wanted_tokens_are_named_at_the_first_place_with_their_own_probabilities(model, plain):
    labels = ("yes", "no")
    sampling = Sampling(max_tokens=1, top=2, also=labels)
    for answer, wanted in zip(ask(model, chats(), sampling), ask(plain, chats(), sampling), strict=True):
        assert not set(labels) & {name for name, _ in wanted.tokens[0].top[:2]}  # else nothing is shown
        for label in labels:
            assert dict(answer.tokens[0].top)[label] == pytest.approx(dict(wanted.tokens[0].top)[label], abs=1e-3)
        # They take a second request, which is accounted.
        assert (answer.prompt_tokens, answer.answer_tokens) == (2 * wanted.prompt_tokens, 2)
        assert answer.reused_tokens >= wanted.prompt_tokens // 2


def test_the_prefix_cache_is_used_and_its_hits_are_told(model):
    begin = f"{os.urandom(8).hex()} " * 40
    first, second = (ask(model, [Request(text=begin + end)], Sampling(max_tokens=1))[0] for end in ("one", "two"))
    assert first.reused_tokens == 0
    assert 0.8 * second.prompt_tokens < second.reused_tokens < second.prompt_tokens


CONSTRAINTS = {
    "choice": (("yes", "no", "10"), lambda text: text in ("yes", "no", "10")),
    "regex": ((r"<answer>(10|[0-9])</answer>",), lambda text: 0 <= int(text[8:-9]) <= 10),
    "grammar": (('root ::= "yes" | "no" "!"',), lambda text: text in ("yes", "no!")),
    "json": (('{"type": "object", "properties": {"score": {"enum": [0, 1]}}, "required": ["score"]}',), json.loads),
}


@pytest.mark.parametrize("kind", CONSTRAINTS)
def test_an_answer_holds_to_its_constraint(model, kind):
    value, holds = CONSTRAINTS[kind]
    sampling = Sampling(max_tokens=256, temperature=1.0, seed=1)
    requests = [one for n in range(4) for one in chats(constraint=Constraint(kind, value), sample=n)]
    for answer in ask(model, requests, sampling):
        if kind != "json" or answer.finish == "stop":  # JSON may have space without end
            assert holds(answer.text), answer.text
            assert answer.finish == "stop"


def ranking(n, used):
    """Fullrank's grammars: all of up to 63 identifiers in a bit each, or the next 10 in 7 bits each."""
    left = [name for name in range(1, n + 1) if name not in used]
    lead = '" > " ' if used else ""
    if len(left) <= 63:
        items = "\n  | ".join(f'"[{k}]" rest::set_bit({i}) %if bit_clear({i})' for i, k in enumerate(left))
        rest = f'" > " item::_ %if bit_count_lt(_, {len(left)})\n  | "" %if bit_count_eq(_, {len(left)})'
        return f"start : {lead}item::0x0\nitem::_ : {items}\nrest::_ : {rest}\n"
    rules = [f"start : {lead}p0::0x0"]
    for at in range(10):
        lines = []
        for k in left:
            then = f' " > " p{at + 1}::bit_or({k << 7 * at})' if at < 9 else ""
            unlike = f"ne([0:7], {k})" if at else ""
            for earlier in range(1, at):
                unlike = f"and({unlike}, ne([{7 * earlier}:{7 * earlier + 7}], {k}))"
            lines.append(f'"[{k}]"{then}' + (f" %if {unlike}" if unlike else ""))
        rules.append(f"p{at}::_ : " + "\n  | ".join(lines))
    return "\n".join(rules) + "\n"


@pytest.mark.parametrize(("n", "repeats"), [(10, 8), (40, 4), (100, 1)])
def test_every_ranking_is_a_permutation(model, n, repeats):
    """Whatever a random model likes: drawn at temperature 1, each answer has every identifier once."""
    texts = [""] * (repeats * len(PROMPTS))
    reused = 0
    while not all(text.count("[") == n for text in texts):
        requests = []
        for row, text in enumerate(texts):
            used = {int(name.strip("[]")) for name in text.split(" > ") if name}
            held = Constraint("grammar", (ranking(n, used),))
            messages = (Message("user", PROMPTS[row % len(PROMPTS)]),)
            requests.append(Request(messages, opening=text, constraint=held, sample=row))
        came = ask(model, requests, Sampling(max_tokens=1000, temperature=1.0, seed=3))
        assert {one.finish for one in came} == {"stop"}
        reused += sum(one.reused_tokens for one in came)
        texts = [text + one.text for text, one in zip(texts, came, strict=True)]
    wanted = [f"[{name}]" for name in range(1, n + 1)]
    assert all(sorted(text.split(" > ")) == sorted(wanted) for text in texts)
    assert len(set(texts)) > 1
    assert reused > 0


def test_a_seed_repeats_and_samples_differ(model):
    sampling = Sampling(max_tokens=12, temperature=1.0, seed=5)
    requests = [Request(text=BEGIN, sample=n) for n in range(4)]
    found = [one.text for one in ask(model, requests, sampling)]
    assert found == [one.text for one in ask(model, requests, sampling)]
    assert len(set(found)) > 1


def test_a_stop_text_ends_an_answer_and_is_not_in_it(model):
    whole = ask(model, [Request(text=BEGIN)], Sampling(max_tokens=24, temperature=1.0, seed=2))[0].text
    stop = next(one for one in whole[4:] if one.isascii())
    found = ask(model, [Request(text=BEGIN)], Sampling(max_tokens=24, temperature=1.0, seed=2, stop=(stop,)))[0]
    assert (found.text, found.finish) == (whole.split(stop)[0], "stop")


def test_what_does_not_fit_is_too_long_to_the_token(in_process):
    for room, sampling, target in ((16, Sampling(), ""), (2, Sampling(), "e")):
        fit, over = (Request(text="x" * (CONTEXT - room + more), target=target) for more in (0, 1))
        assert [len(ids) for ids in in_process.tokens.ids([fit, over])] == [CONTEXT - room, CONTEXT - room + 1]
        found = ask(in_process, [over, fit], sampling)
        assert found[0].finish == "too_long"
        assert not found[1].missing


@pytest.mark.parametrize("target", ["", "e"])
def test_what_leaves_no_room_is_too_long_for_a_server_too(served, target):
    fit, over, far = (Request(text="x" * n, target=target) for n in (CONTEXT - 2, CONTEXT, 2 * CONTEXT))
    found = ask(served, [fit, over, far], Sampling(max_tokens=2))
    assert [one.missing for one in found] == [False, True, True]
    assert {one.finish for one in found[1:]} == {"too_long"}


def test_a_constraint_that_the_engine_cannot_read_is_refused_and_the_engine_goes_on(model):
    request = Request(text="x", constraint=Constraint("grammar", ("start : item::0x0",)))
    with pytest.raises((BackendError, UsageError), match="rule"):
        ask(model, [request], Sampling())
    assert ask(model, [Request(text="x")], Sampling(max_tokens=1))[0].answer_tokens == 1


def test_a_program_that_fails_ends_with_its_engine(folder):
    """Python waits for the engine's processes when it ends."""
    program = f"""
from pathlib import Path
from posbench.rankers import llm
from posbench.rankers.llm.calls import Request, Sampling
from posbench.reranking import Backend
from posbench.sources import Source

def main():
    made = llm.backend(Backend(engine="vllm", source=(Source(path={str(folder)!r}),)), Path({str(folder.parent)!r}))
    print(list(made.answers([Request(text="x")], Sampling(max_tokens=1))))
    raise RuntimeError("a fault of the caller")

if __name__ == "__main__":
    main()
"""
    path = folder.parent / "program.py"
    path.write_text(program)
    done = subprocess.run(
        [sys.executable, str(path)], env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    assert "Answer(" in done.stdout
    assert "a fault of the caller" in done.stderr
