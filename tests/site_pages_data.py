"""Real results and studies of posir-mini as a site."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from posbench import cli
from posbench.leaderboard import derive
from posbench.leaderboard.boards import Found, boards
from posbench.leaderboard.entry import Data, Entry, Figure, Model, Source
from posbench.site import build, comparison, indexes, methods, models, reranking
from posbench.site.context import Page, Site
from posbench.store import open_result

HOSTILE = '<script>window.bad=1</script> "quoted" \u202eمعكوس & ' + "long" * 40
LISTWISE = """
kind = "listwise"
description = "Answers that the first two change places"
licence = "l"
[backend]
engine = "instant"
reply = "[2] > [1]"
"""


@dataclass(frozen=True)
class Made:
    """The site, its pages but for those of boards, and the folder that it is written to."""

    site: Site
    pages: tuple[Page, ...]
    folder: Path


def made(folder: Path) -> Made:
    """Runs posbench and writes the pages."""
    (folder / "listwise.toml").write_text(LISTWISE)
    (folder / "twin.toml").write_text(TWIN)
    where = ["--out", str(folder / "results"), "--cache", str(folder / "cache"), "--quiet"]
    for language in ("eng", "deu"):
        for model in ("bm25", "wordllama"):
            run("eval", "--model", model, "--dataset", f"posir-mini/{language}", *where)
    rerank = ["--dataset", "posir-mini/eng", "--rerank", str(folder / "listwise.toml"), "--depth", "10", *where]
    run("eval", "--model", "bm25", *rerank)
    run("rerank-strategies", "--model", "bm25", "--queries", "30", "--strategies", "full,consistency", *rerank)
    run("input-order", "--model", "bm25", "--queries", "20", *rerank)
    eng = ["--dataset", "posir-mini/eng", *where]
    run("saliency", "--model", "wordllama", "--method", "occlusion", "--min-tokens", "256", "--pairs", "20", *eng)
    vectors = ["--model", "wordllama", "--model", str(folder / "twin.toml"), "--orders", "random,given", "--jobs", "1"]
    grid = ["--library", "faiss", "--m", "4", "--ef-construction", "10", "--ef-search", "10,20", "--level-seeds", "2"]
    run("hnsw", *vectors, *grid, "--probe", "20", *eng)
    found = [Found(entry, path, table) for path in derive.paths(folder / "results") for entry, table in [read(path)]]
    scores = [one for one in found if one.entry.kind == "scores"]
    site = Site(
        tuple(boards([*scores, *renamed(scores), *published(20)])),
        tuple(one for one in found if one.entry.kind != "scores"),
    )
    pages = tuple(page for part in (models, comparison, indexes, reranking, methods) for page in part.pages(site))
    build.build(site, folder / "pages")
    return Made(site, pages, folder / "pages")


TWIN = """
kind = "dense"
description = "WordLlama under a second name: models that tie"
licence = "MIT"
[[source]]
package = "wordllama"
format = "wordllama"
note = "l2_supercat, 256 dimensions"
[encode]
max_tokens = 1000000
pooling = "mean"
"""


def run(*arguments: str) -> None:
    """A command of posbench that must succeed."""
    assert cli.main(list(arguments)) == 0, arguments


def read(path: Path) -> tuple[Entry, Path | None]:
    """A stored result's entry and its per-query values."""
    result = open_result(path)
    assert result is not None
    entry = derive.derive(result)
    return entry, path / "queries.parquet" if entry.kind == "scores" else None


def renamed(scores: list[Found]) -> list[Found]:
    """bm25 once more, submitted under a hostile name, with hostile words wherever an entry has words."""
    own = [one for one in scores if one.entry.model.name == "bm25"]
    model = Model(HOSTILE, HOSTILE, 512, HOSTILE, HOSTILE, HOSTILE)
    source = Source(HOSTILE, "javascript:alert(1)", HOSTILE)
    return [
        Found(
            msgspec.structs.replace(one.entry, model=model, origin="submitted", source=source, command=HOSTILE),
            one.path / "hostile",
            one.table,
        )
        for one in own
    ]


def published(settings: int) -> list[Found]:
    """A board of three models of which only means are known."""
    found = []
    for number, name in enumerate(("first", "second", "third")):
        cells = {
            f"s{s}": {"all": Figure(0.8 - 0.1 * number + (s * 7 + number * 3) % 5 / 100), "Q1": Figure(0.9)}
            for s in range(settings)
        }
        source = Source("A paper", "https://example.org/paper", "table 1")
        entry = Entry(Model(name), Data("means", "means"), "published", {"nDCG@10": cells}, source=source)
        found.append(Found(entry, Path(name)))
    return found
