"""The backend of a server against one that fails in every way, and the cache of calls."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from posbench.errors import BackendError, DataError, MissingPartError, UsageError
from posbench.rankers import llm
from posbench.rankers.llm.calls import Answer, Constraint, Message, Request, Sampling, Token, pruned
from posbench.rankers.llm.client import Client
from posbench.recipe import digest
from posbench.reranking import Backend
from posbench.sources import Source

KEY = "sk-very-secret-0123456789"


def recipe(server, **changes):
    known = {"engine": "openai", "url": server.url, "model": "m", "backoff": 0.01, "timeout": 5.0}
    return Backend(**{**known, **changes})


def client(server, cache, **changes):
    return Client(llm.backend(recipe(server, **changes), cache), cache)


def chats(n):
    return [Request((Message("user", f"prompt {i}"),)) for i in range(n)]


def test_answers_come_in_the_order_of_the_requests_with_tokens_and_alternatives(server, tmp_path):
    server.reply = lambda body: body["messages"][0]["content"][-1]
    found = client(server, tmp_path).ask(chats(5), Sampling(top=2))
    assert [one.text for one in found] == list("01234")
    assert found[3].tokens == (
        Token("3", -0.6931471805599453, (("3", -0.6931471805599453), ("?", -0.6931471805599453))),
    )
    assert (found[3].finish, found[3].answer_tokens, found[3].reused_tokens) == ("stop", 1, 4)


def test_equal_requests_are_asked_once_and_a_second_run_asks_nothing(server, tmp_path):
    asked = client(server, tmp_path)
    first = asked.ask([*chats(3), *chats(2)], Sampling())
    assert len(server.calls) == 3
    again = client(server, tmp_path)
    assert again.ask([*chats(3), *chats(2)], Sampling()) == first
    assert len(server.calls) == 3
    assert asked.cost()["calls"] == again.cost()["calls"] == 5
    assert (asked.cost()["cached"], again.cost()["cached"]) == (2, 5)
    assert again.cost()["new_prompt_tokens"] == 0 < again.cost()["prompt_tokens"] == asked.cost()["prompt_tokens"]


@pytest.mark.parametrize(
    "change", [{"sampling": Sampling(max_tokens=17)}, {"request": Request(text="x", sample=1)}, {"model": "other"}]
)
def test_whatever_changes_the_answer_is_asked_anew(server, tmp_path, change):
    client(server, tmp_path).ask([Request(text="x")], Sampling())
    other = client(server, tmp_path, model=change.get("model", "m"))
    other.ask([change.get("request", Request(text="x"))], change.get("sampling", Sampling()))
    assert len(server.calls) == 2


USAGE = '"usage": {"prompt_tokens": 1}}'
FAULTS = {
    "status:500": "status 500",
    "status:503": "status 503",
    "wait:0.01": "status 429",
    "timeout": "time-out",
    "cut": "connection",
    "drop": "connection",
    "raw:<answer>3</answer>": "malformed",
    'raw:{"choices": []}': "malformed",
    'raw:{"choices": [{"message": {"content": null}, "finish_reason": "stop"}], ' + USAGE: "malformed",
    'raw:{"choices": [{"message": {"content": "7"}, "finish_reason": "error"}], ' + USAGE: "malformed",
    'raw:{"choices": [{"message": {"content": "7"}, "finish_reason": "stop"}]}': "malformed",
    "raw:[10]": "malformed",
    "raw:10": "malformed",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_transport_is_tried_again_and_never_read_as_an_answer(server, tmp_path, fault):
    server.faults = [fault, fault]
    asked = client(server, tmp_path, timeout=0.2)
    assert [one.text for one in asked.ask(chats(1), Sampling())] == ["<answer>7</answer>"]
    assert asked.cost()["faults"] == {FAULTS[fault]: 2}
    assert len(server.calls) == 3


def test_what_came_before_faults_without_end_is_kept(server, tmp_path):
    server.faults = ["ok"] * 3 + ["status:500"] * 1000
    asked = client(server, tmp_path, retries=1, concurrency=1)
    with pytest.raises(BackendError, match="after 2 tries; the same command goes on"):
        asked.ask(chats(6), Sampling())
    server.faults = []
    before = server.served
    assert before == 3
    assert len(client(server, tmp_path).ask(chats(6), Sampling())) == 6
    assert server.served == 6


def test_a_server_that_is_not_there_is_named_with_its_port_and_soon_given_up(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    gone = Backend(engine="openai", url=f"http://127.0.0.1:{port}/v1", model="m", retries=20)
    asked = Client(llm.backend(gone, tmp_path), tmp_path)
    with pytest.raises(BackendError, match=rf"127\.0\.0\.1:{port}: .*refused.* after [2-5] tries; the same command"):
        asked.ask(chats(1), Sampling())
    assert 1 < asked.cost()["faults"]["refused"] < 6  # of 21 tries that other faults would have


def test_a_host_without_an_address_is_soon_given_up(tmp_path, monkeypatch):
    def unknown(*_):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # a machine without a resolver would say to try again
    gone = Backend(engine="openai", url="http://nowhere.invalid/v1", model="m", retries=20)
    asked = Client(llm.backend(gone, tmp_path), tmp_path)
    with pytest.raises(
        BackendError, match=r"nowhere\.invalid:80: .*no such host.* after [1-5] tries; the same command"
    ):
        asked.ask(chats(1), Sampling())


CHILD = """
import sys
from pathlib import Path
from posbench.rankers import llm
from posbench.rankers.llm.calls import Request, Sampling
from posbench.rankers.llm.client import Client
from posbench.reranking import Backend
recipe = Backend(engine="openai", url=sys.argv[1], model="m", concurrency=int(sys.argv[3]))
requests = [Request(text=str(i)) for i in range(60)]
Client(llm.backend(recipe, Path()), Path(sys.argv[2])).ask(requests, Sampling())
"""


def asking(server, cache, concurrency):
    """Another process that asks for 60 answers."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", CHILD, server.url, str(cache), str(concurrency)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def test_an_interrupted_run_waits_for_no_answer_and_goes_on_later(server, tmp_path):
    server.faults = ["ok"] * 12 + ["timeout"] * 100
    server.slow = 1000.0
    child = asking(server, tmp_path, 4)
    while server.served < 12 or server.running < 4:
        time.sleep(0.01)
        assert child.poll() is None
    time.sleep(0.3)  # what was answered is written
    child.send_signal(signal.SIGINT)
    child.wait(30)  # of the 600 seconds that its four calls may take
    server.hang.set()
    server.faults = []
    before = server.served
    assert len(client(server, tmp_path).ask([Request(text=str(i)) for i in range(60)], Sampling())) == 60
    assert server.served - before == 60 - 12


def test_whoever_stops_reading_ends_the_calls_under_way(server, tmp_path):
    server.faults = ["ok"] + ["timeout"] * 10
    server.slow = 1000.0
    coming = llm.backend(recipe(server, concurrency=3, timeout=600.0), tmp_path).answers(chats(9), Sampling())
    assert len(next(coming)) == 1
    while server.running < 3:
        time.sleep(0.01)
    before = threading.active_count()
    coming.close()
    until = time.monotonic() + 30
    while threading.active_count() > before - 3 and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() <= before - 3
    assert len(server.calls) == 4  # none of those that waited was begun
    server.hang.set()


def test_retry_after_is_waited_for(server, tmp_path):
    server.faults = ["wait:0.4"]
    start = time.perf_counter()
    client(server, tmp_path, backoff=0.0).ask(chats(1), Sampling())
    assert time.perf_counter() - start >= 0.4


def test_no_more_requests_at_one_time_than_allowed(server, tmp_path):
    server.delay = 0.02
    client(server, tmp_path, concurrency=3).ask(chats(20), Sampling())
    assert server.most == 3


def test_a_prompt_that_is_too_long_is_an_answer_of_its_own(server, tmp_path):
    server.faults = ["long"]
    asked = client(server, tmp_path)
    assert asked.ask(chats(1), Sampling()) == [Answer("", "too_long")]
    assert asked.cost()["finish"] == {"too_long": 1}
    assert not client(server, tmp_path).ask(chats(1), Sampling())[0].missing  # the server has more room now


def test_new_books_have_no_faults_of_old_ones(server, tmp_path):
    server.faults = ["status:500"]
    asked = client(server, tmp_path)
    asked.ask(chats(1), Sampling())
    assert asked.cost()["faults"] == {"status 500": 1}
    asked.begin()
    server.faults = ["drop", "status:500"]
    asked.ask(chats(3)[1:], Sampling())
    assert sum(asked.cost()["faults"].values()) == 2
    assert (asked.cost()["calls"], asked.cost()["faults"]["status 500"]) == (2, 1)


def test_a_filtered_answer_says_so(server, tmp_path):
    server.finish = "content_filter"
    assert client(server, tmp_path).ask(chats(1), Sampling())[0].finish == "filtered"


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_request_that_is_refused_is_not_tried_again(server, tmp_path, status, monkeypatch):
    monkeypatch.setenv("SECRET", KEY)
    server.faults = [f"status:{status}"]
    with pytest.raises(BackendError, match=f"HTTP {status}") as error:
        client(server, tmp_path, key_env="SECRET").ask(chats(1), Sampling())
    assert len(server.calls) == 1
    assert KEY not in str(error.value)
    assert "[key]" in str(error.value)


def test_no_part_of_a_key_is_shown_where_a_complaint_is_cut(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", KEY)
    server.faults = ["far"]
    with pytest.raises(BackendError) as error:
        client(server, tmp_path, key_env="SECRET").ask(chats(1), Sampling())
    assert "xx" in str(error.value)
    assert KEY[:3] not in str(error.value)


@pytest.mark.parametrize("odd", ["\n", "\u2026"])
def test_a_key_that_no_header_takes_is_not_shown(server, tmp_path, monkeypatch, odd):
    monkeypatch.setenv("SECRET", f"{KEY}{odd}{KEY}")
    with pytest.raises(UsageError, match="the key in SECRET has a line break") as error:
        client(server, tmp_path, key_env="SECRET").ask(chats(1), Sampling())
    assert KEY not in str(error.value)


def test_the_key_is_sent_and_stays_out_of_all_that_is_kept(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("SECRET", KEY)
    server.faults = ["status:500"]
    asked = client(server, tmp_path, key_env="SECRET")
    asked.ask(chats(2), Sampling())
    assert server.calls[0][2]["Authorization"] == f"Bearer {KEY}"
    kept = json.dumps([asked.cost(), asked.backend.describe()]).encode() + caplog.text.encode()
    kept += b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in kept


def test_a_key_that_is_not_set_is_named(server, tmp_path):
    with pytest.raises(MissingPartError, match="set the environment variable NO_SUCH_KEY"):
        client(server, tmp_path, key_env="NO_SUCH_KEY").ask(chats(1), Sampling())


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@host/v1",
        "http://host/v1?key=1",
        "file:///etc",
        "host:80",
        "http://host:99999/v1",
        "http://host:hunter2/v1",
        "http://a..b/v1",
        "http://a b/v1",
        "http://host/v 1",
        "http://host/v\u00e9",
    ],
)
def test_a_url_with_a_secret_or_without_a_host_is_refused_without_repeating_it(url):
    with pytest.raises(ValueError, match="url") as error:
        Backend(engine="openai", url=url, model="m")
    assert "hunter2" not in str(error.value)


def test_what_the_protocol_has_no_place_for_is_refused(server, tmp_path):
    asked = client(server, tmp_path)
    for request in (
        Request((Message("user", "x"),), opening="<answer>"),
        Request(text="x", target="y"),
        Request(text="x", constraint=Constraint("regex", ("a+",))),
    ):
        with pytest.raises(UsageError, match='dialect = "vllm"'):
            asked.ask([request], Sampling())
    assert not server.calls


def test_openings_and_constraints_are_sent_in_vllms_words(server, tmp_path):
    request = Request((Message("user", "x"),), opening="<a>", constraint=Constraint("choice", ("1", "2")))
    client(server, tmp_path, dialect="vllm").ask([request], Sampling())
    body = server.calls[0][1]
    assert body["messages"][-1] == {"role": "assistant", "content": "<a>"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert body["structured_outputs"] == {"choice": ["1", "2"]}


def test_a_second_request_for_wanted_tokens_is_accounted(server, tmp_path, tiny_llm):
    server.reply = lambda body: "a" if "logprob_token_ids" not in body else "bb"
    asked = client(server, tmp_path, dialect="vllm", source=(Source(path=str(tiny_llm)),))
    (answer,) = asked.ask(chats(1), Sampling(max_tokens=4, top=1, also=("7",)))
    bodies = [body for _, body, _ in server.calls]
    assert len(bodies) == 2
    assert answer.text == "a"
    assert (answer.answer_tokens, answer.reused_tokens) == (3, 8)
    assert answer.prompt_tokens == sum(len(json.dumps(body)) for body in bodies)


def test_reasoning_that_a_server_takes_out_is_put_back():
    from posbench.rankers.llm.openai import read_chat

    message = {"content": "<answer>3</answer>", "reasoning_content": "hm"}
    answer = read_chat({"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}})
    assert answer.text == "<think>hm</think><answer>3</answer>"


def test_tokens_are_kept_only_behind_the_marker():
    def kept(words, marker):
        tokens = tuple(Token(word, -1.0, (("x", -2.0),)) for word in words)
        return [token.text for token in pruned(Answer("", "stop", tokens=tokens), marker).tokens]

    assert kept("a>b>c", ">") == ["c"]
    assert kept(["a<", "an", "s>7", "<"], "<ans>") == ["s>7", "<"]
    assert kept(["a", "<ans>"], "<ans>") == []
    assert kept("x" * 20, ">") == ["x"] * 16
    assert kept("x" * 20, "") == ["x"] * 20


def test_a_damaged_cache_is_named(server, tmp_path):
    asked = client(server, tmp_path)
    asked.ask(chats(1), Sampling())
    path = next(tmp_path.glob("llm/*.sqlite"))
    with sqlite3.connect(path) as base:
        base.execute("UPDATE calls SET answer = x'00'")
    base.close()
    with pytest.raises(DataError, match="damaged cache of calls"):
        client(server, tmp_path).ask(chats(1), Sampling())
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(DataError, match="damaged cache of calls"):
        client(server, tmp_path).ask(chats(1), Sampling())


def test_a_cache_that_cannot_be_written_is_not_called_damaged(server, tmp_path, monkeypatch):
    asked = client(server, tmp_path)
    asked.ask(chats(1), Sampling())
    monkeypatch.setattr("posbench.rankers.llm.cache._PATIENCE", 0.01)
    with sqlite3.connect(next(tmp_path.glob("llm/*.sqlite")), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DataError, match="cannot be used: database is locked"):
            client(server, tmp_path).ask(chats(2), Sampling())
        other.execute("ROLLBACK")
    other.close()
    backend = llm.backend(recipe(server), tmp_path)
    (tmp_path / "taken" / "llm" / f"{digest(backend.describe())}.sqlite").mkdir(parents=True)
    with pytest.raises(DataError, match="cannot be used: unable to open"):
        Client(backend, tmp_path / "taken").ask(chats(1), Sampling())


def test_a_killed_run_pays_for_no_answer_twice(server, tmp_path):
    server.delay = 0.02
    child = asking(server, tmp_path, 1)
    while server.served < 15:
        time.sleep(0.01)
        assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    time.sleep(0.1)
    before = [body["prompt"] for _, body, _ in server.calls]
    client(server, tmp_path).ask([Request(text=str(i)) for i in range(60)], Sampling())
    after = [body["prompt"] for _, body, _ in server.calls[len(before) :]]
    assert len(after) + len(before) <= 60 + 1  # only the call that was under way may be made again
    assert set(before) | set(after) == {str(i) for i in range(60)}
