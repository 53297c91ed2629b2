"""How near selections come to a target of known source, on held-out text of it, against a random draw from that source.

python benchmarks/dsir_quality.py [--documents N] [--seeds N] [--targets NAME ...] [--xquad FOLDER] [--small]
                                  [--official PYTHON]
    FOLDER: xquad.en.json, xquad.de.json ... (SQuAD v1.1 files), by default ../shared/data/xquad where that is
    PYTHON: an interpreter that has data-selection 1.0.3 (see dsir.py); its own weights and selections are then shown
            beside the ``dsir`` selector on the same features, and nothing else is run

The raw text is N documents of mixed sources (``dsir_text.py``, and XQuAD's paragraphs and questions); the target is
text of one source that the raw text lacks, half of it fitted, half held out. For each seed all is drawn anew: which
text is fitted, held out and raw, the samples and the noise. Printed is KL(held-out || selected) in nats over 10,000
buckets of unigrams and bigrams with epsilon 1e-8: the mean and its 95% interval over seeds, with the share of the
selection that is of the target's source, and how much longer than the target's its texts are. "source" is a random draw
from what the raw text has of the target's source: as good as knowing the source of every text. ``--small`` compares
smoothing for targets of 10, 50 and 200 texts instead.
"""

import argparse
import json
import random
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from dsir_text import documents
from numpy.typing import NDArray

from posbench.dsir import Features, FeatureSpec, featurise, noise, quotas, weights
from posbench.dsir.divergence import kl
from posbench.dsir.scorers import SELECTORS, Settings, sample_rows, scorer, target_distribution
from posbench.dsir.selectors import DEFAULT, draw, noisy, pooled, refine
from posbench.types import Float64, Int64, strings

SIZES = (300, 1000, 3000)
FITTED = 1000  # texts of the target that are fitted, and as many held out; a third of a small source each
LANGUAGES = ("en", "de", "es", "ru", "zh", "ar")
XQUAD = Path(__file__).parents[2] / "shared" / "data" / "xquad"
TARGETS = ("manuals", "code", "xquad-de", "short manuals")
MORE = ("descriptions", "questions-en", "manuals, none in raw")
PEER = """
import json, sys, tempfile
from pathlib import Path
from data_selection import HashedNgramDSIR
raw, target, sizes, draws = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
with tempfile.TemporaryDirectory() as cache:
    dsir = HashedNgramDSIR([raw], [target], cache + "/weights", num_proc=1, min_example_length=0)
    dsir.fit_importance_estimator(num_tokens_to_fit="all")
    dsir.compute_importance_weights()
    found = {}
    for size in sizes:
        for i in range(draws):
            out = Path(cache) / f"{size}-{i}"
            dsir.resample(str(out), size, cache_dir=f"{cache}/tmp-{size}-{i}")
            rows = [json.loads(line)["row"] for path in out.rglob("*.jsonl") for line in path.read_text().splitlines()]
            found.setdefault(size, []).append(rows)
print(json.dumps(found))
"""


FAST = FeatureSpec()
Row = tuple[float, float, float]  # KL, share of the source, length over the target's


def xquad(folder: Path) -> Iterator[tuple[str, str]]:
    """(source, text) of XQuAD: paragraphs in pieces of up to 40 words, and questions."""
    for language in LANGUAGES:
        path = folder / f"xquad.{language}.json"
        articles = json.loads(path.read_text(encoding="utf-8"))["data"] if path.exists() else []
        for paragraph in (one for article in articles for one in article["paragraphs"]):
            words = paragraph["context"].split(" ")
            for at in range(0, max(1, len(words) - 20), 40):
                yield f"xquad-{language}", " ".join(words[at : at + 40])
            for one in paragraph["qas"]:
                yield f"questions-{language}", one["question"]


class Texts:
    """Texts of known source: ``pairs`` of both, ``source`` object[N], and features where they are asked for."""

    def __init__(self, pairs: Sequence[tuple[str, str]], spec: FeatureSpec = FAST) -> None:
        self.pairs, self.spec = pairs, spec
        self.source = np.array([source for source, _ in pairs], object)

    @cached_property
    def features(self) -> Features:
        """One row a text."""
        return featurise([text for _, text in self.pairs], self.spec)


def long_and_short(count: int, folder: Path) -> tuple[Texts, Texts]:
    """Chunks of about 200 words, and texts of 5 to 15 words: a passage of each chunk, and questions."""
    chunks, foreign = documents(count + count // 5), list(xquad(folder))
    rng, passages = random.Random(0), []
    for source, text in chunks:
        words, length = text.split(), rng.randint(5, 15)
        at = rng.randrange(len(words) - length)
        passages.append((f"short {source}", " ".join(words[at : at + length])))
    return (
        Texts([(source, text) for source, text in chunks] + [pair for pair in foreign if pair[0].startswith("xquad")]),
        Texts(passages + [pair for pair in foreign if pair[0].startswith("questions")]),
    )


@dataclass(frozen=True)
class Trial:
    """A target and raw text, by rows of ``texts``; ``true`` says which raw texts are of the target's source."""

    texts: Texts
    fitted: Int64
    held_out: Int64
    raw: Int64
    true: NDArray[np.bool_]
    seed: int

    @classmethod
    def drawn(cls, texts: Texts, target: str, count: int, seed: int, fitted: int = FITTED) -> "Trial":
        """Draws what is fitted, held out and raw; "NAME, none in raw" keeps the target's source out of the raw text."""
        name, alone = target.removesuffix(", none in raw"), target.endswith(", none in raw")
        rng = np.random.default_rng(seed)
        mine = rng.permutation(np.flatnonzero(texts.source == name))
        if len(mine) < 30:
            raise SystemExit(f"this machine has {len(mine)} texts of {name}; choose other --targets")
        half = min(FITTED, len(mine) // 3)
        others = np.flatnonzero(texts.source != name)
        pool = others if alone else np.concatenate([others, mine[2 * half :]])
        raw = rng.permutation(pool)[:count]
        return cls(texts, mine[: min(fitted, half)], mine[half : 2 * half], raw, texts.source[raw] == name, seed)

    @cached_property
    def features(self) -> dict[str, Features]:
        """The features of each part."""
        parts = {"fitted": self.fitted, "held_out": self.held_out, "raw": self.raw}
        return {name: self.texts.features.take(rows) for name, rows in parts.items()}

    @cached_property
    def keys(self) -> noise.Keys:
        """The keys of the raw texts."""
        return noise.keys(strings([str(row) for row in self.raw]), self.seed)

    @cached_property
    def counts(self) -> Int64:
        """The raw text's n-grams by bucket."""
        return self.features["raw"].counts()

    def judge(self, rows: Int64) -> Row:
        """What a selection is worth."""
        held, raw = self.features["held_out"], self.features["raw"]
        p, q = (weights.distribution(one.counts()) for one in (held, raw.take(rows)))
        return kl(p, q), float(self.true[rows].mean()), float(raw.tokens[rows].mean() / held.tokens.mean())

    def log_ratio(self, name: str, settings: Settings) -> Float64:
        """The log weights of the raw texts."""
        sample = self.features["raw"].take(sample_rows(self.keys, len(self.fitted)))
        return scorer(name, self.features["fitted"], self.counts, sample, self.seed, settings).log_ratio(
            self.features["raw"]
        )

    def select(self, name: str, log_w: Float64, k: int, settings: Settings) -> Int64:
        """Rows as ``selectors.choose`` selects them; the log weights are made once for all sizes."""
        whole = quotas.Strata(("",), np.zeros(len(self.raw), np.int64), np.array([k], np.int64))
        if name == "greedy":
            rows = draw(noisy(name, log_w, self.keys), self.keys, pooled(whole, settings.pool))
            p = target_distribution(self.features["fitted"], self.counts, settings)
            few = quotas.Strata(whole.names, whole.codes[rows], whole.quotas)
            pool = self.features["raw"].take(rows)
            return rows[refine(pool, self.features["fitted"], p, self.keys[rows], few, settings)]
        degree = weights.temperature(lambda: [log_w], settings.effective * k) if name == "tempered" else 1.0
        return draw(noisy(name, log_w, self.keys, degree), self.keys, whole)

    def source(self, k: int) -> Int64 | None:
        """A random draw of k from the target's source; none where the raw text has too few."""
        rows = np.flatnonzero(self.true)
        return rows[np.argsort(self.keys[rows])[:k]] if len(rows) >= k else None


def trial_rows(trial: Trial, names: Sequence[str], settings: Settings) -> dict[str, list[Row | None]]:
    """Each selector's worth at each size, and the source's."""
    same = {"greedy": "logistic", "tempered": "dsir", "top-k": "dsir"}
    made: dict[str, Float64] = {}
    found: dict[str, list[Row | None]] = {}
    for name in names:
        key = same.get(name, name)
        made[key] = made[key] if key in made else trial.log_ratio(key, settings)
        found[name] = [trial.judge(trial.select(name, made[key], k, settings)) for k in SIZES]
    drawn = [trial.source(k) for k in SIZES]
    found["source"] = [None if rows is None else trial.judge(rows) for rows in drawn]
    return found


def interval(values: Float64) -> tuple[float, float]:
    """The mean and the half width of its 95% interval by Student's t."""
    from scipy.stats import t

    n = len(values)
    half = t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else float("nan")
    return float(values.mean()), float(half)


def show(title: str, seeds: list[dict[str, list[Row | None]]]) -> None:
    """Prints the table of a target."""
    print(f"\n{title}\n{'':10}" + "".join(f"{f'k = {k}':^32}" for k in SIZES))
    for name in seeds[0]:
        cells = [cell([one[name][i] for one in seeds]) for i in range(len(SIZES))]
        print(f"{name:10}" + "".join(f"{text:32}" for text in cells), flush=True)


def cell(rows: Sequence[Row | None]) -> str:
    """A selector's worth at one size over the seeds."""
    found = np.array([row for row in rows if row is not None])
    if len(found) < len(rows):
        return f"{'too few':^32}"
    far, half = interval(found[:, 0])
    _, share, length = found.mean(axis=0)
    return f"{far:8.3f} +-{half:.3f}  {share:4.0%}  {length:4.2f}x"


def verdict(seeds: list[dict[str, list[Row | None]]]) -> str:
    """The default against random and against the source."""
    words = []
    for i, k in enumerate(SIZES):
        far = {name: np.array([row[0] for one in seeds if (row := one[name][i])]) for name in seeds[0]}
        gain, half = interval(far["random"] - far[DEFAULT])
        known = len(far["source"]) == len(seeds)
        near = f", {far[DEFAULT].mean() / far['source'].mean():.2f} of the source's" if known else ""
        words.append(f"{k}: {gain:.3f} +-{half:.3f} below random{near}")
    return f"{DEFAULT}, the default: " + "; ".join(words)


def quality(options: argparse.Namespace, long: Texts, short: Texts) -> None:
    """The main table: every selector on every target."""
    names = [*SELECTORS]
    for target in options.targets:
        texts = short if target.startswith(("short", "questions")) else long
        trials = (Trial.drawn(texts, target, options.documents, seed) for seed in range(options.seeds))
        seeds, size = [], ""
        for trial in trials:
            seeds.append(trial_rows(trial, names, Settings()))
            size = f"{len(trial.fitted):,} fitted, {len(trial.raw):,} raw, {trial.true.mean():.1%} of its source"
        show(f"{target}: {size}", seeds)
        print(verdict(seeds))


SMOOTHINGS = {"none": Settings(), "laplace 1": Settings(laplace=1), "half raw": Settings(mix=0.5)}


def small(options: argparse.Namespace, long: Texts) -> None:
    """Targets of few texts under each smoothing."""
    for fitted in (10, 50, 200):
        by: dict[str, list[dict[str, list[Row | None]]]] = {}
        for seed in range(options.seeds):
            trial = Trial.drawn(long, options.targets[0], options.documents, seed, fitted)
            for smoothing, settings in SMOOTHINGS.items():
                names = [name for name in SELECTORS if smoothing == "none" or name not in ("logistic", "random")]
                by.setdefault(smoothing, []).append(trial_rows(trial, names, settings))
        for smoothing, seeds in by.items():
            show(f"{options.targets[0]}, {fitted} texts fitted, smoothing: {smoothing}", seeds)


def official(options: argparse.Namespace, long: Texts) -> None:
    """The package's own selections beside ours by its features, over draws of the noise on one split."""
    trial = Trial.drawn(long, options.targets[0], options.documents, 0)
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / "raw.jsonl", Path(name) / "target.jsonl"]
        for path, rows in zip(paths, (trial.raw, trial.fitted), strict=True):
            lines = (json.dumps({"row": i, "text": long.pairs[row][1]}) for i, row in enumerate(rows))
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [options.official, "-c", PEER, *map(str, paths), json.dumps(SIZES), str(options.seeds)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:] + "\nSee dsir.py --help for how to get data-selection.")
    theirs: dict[str, list[list[int]]] = json.loads(done.stdout.splitlines()[-1])
    same = replace(trial, texts=Texts(long.pairs, FeatureSpec("official")))
    ours: list[dict[str, list[Row | None]]] = [
        trial_rows(replace(same, seed=seed), [*SELECTORS], Settings()) for seed in range(options.seeds)
    ]
    for seed, found in enumerate(ours):
        found["package"] = [same.judge(np.array(theirs[str(k)][seed])) for k in SIZES]
    show(f"{options.targets[0]}, official features, one split, {options.seeds} draws of the noise", ours)
    for i, k in enumerate(SIZES):
        far = {name: np.array([row[0] for one in ours if (row := one[name][i])]) for name in ("package", "dsir")}
        gap, half = interval(far["dsir"] - far["package"])
        print(f"k = {k}: dsir less the package {gap:+.4f} +-{half:.4f}")


def main() -> None:
    """Reads the options and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--targets", nargs="+", default=TARGETS, metavar="NAME", help=", ".join(TARGETS + MORE))
    parser.add_argument("--xquad", type=Path, default=XQUAD, metavar="FOLDER")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--official", metavar="PYTHON")
    options = parser.parse_args()
    long, short = long_and_short(options.documents, options.xquad)
    if options.official:
        official(options, long)
    elif options.small:
        small(options, long)
    else:
        quality(options, long, short)


if __name__ == "__main__":
    main()
