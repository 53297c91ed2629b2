"""Features and weights of text in JSONL against data-selection 1.0.3: the same files, one process each.

python benchmarks/dsir.py [--documents N] [--official PYTHON]
    PYTHON: an interpreter that has the package, by default this one:
    python3 -m venv /tmp/official && /tmp/official/bin/pip install data-selection==1.0.3

From real text of this machine (``dsir_text.py``) it writes N documents, and 4 N for the memory, with 500 manual pages
as the target. Seconds are those of the processor (system included), which other work on the machine disturbs less, from
the first byte read to the last weight: the package fits and computes weights; posbench reads once, keeps the features
in files, and computes weights from these. Prints documents/s, the ratios that posbench promises (``official`` at least
4, ``fast`` at least 50), the speed of reading and parsing alone, peak memory, and how far the weights agree.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from dsir_text import Chunk, chunks, documents, sources

from posbench.dsir import Features, FeatureSpec, featurise
from posbench.types import Float64, Int64, Strings, strings

TARGET = 500
BATCH = 4 << 20  # bytes of JSONL at a time
PEER = """
import json, re, sys, tempfile, time
import numpy as np
try:
    from data_selection import HashedNgramDSIR
except ImportError:
    sys.exit("data-selection is not installed in " + sys.executable)
raw, target, out, pinned = sys.argv[1:]
with tempfile.TemporaryDirectory() as cache:
    start = time.process_time()
    dsir = HashedNgramDSIR([raw], [target], cache, num_proc=1)
    if pinned == "pinned":
        pattern = re.compile(r"\\w+|[^\\w\\s]+")
        dsir.tokenizer = pattern.findall
    dsir.fit_importance_estimator(num_tokens_to_fit="all")
    dsir.compute_importance_weights()
    seconds = time.process_time() - start
    np.save(out, np.load(cache + "/log_importance_weights/0.npy"))
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps({"seconds": seconds, "peak": peak}))
"""


class Line(msgspec.Struct):
    """A line of JSONL."""

    text: str


def batches(path: Path) -> Iterator[Strings]:
    """The texts of a file, some megabytes at a time."""
    decode = msgspec.json.Decoder(Line).decode
    with path.open("rb") as file:
        while lines := file.readlines(BATCH):
            yield strings([decode(line).text for line in lines])


def weights(kind: str, raw: Path, target: Path, folder: Path) -> Float64:
    """Log weights of raw documents; their features lie in files between the two passes."""
    spec = FeatureSpec(kind)
    aim: Int64 = sum((featurise(texts, spec).counts() for texts in batches(target)), np.zeros(spec.buckets, np.int64))
    total, parts = np.zeros(spec.buckets, np.int64), 0
    for texts in batches(raw):
        features = featurise(texts, spec)
        total += features.counts()
        np.savez(folder / f"{parts}.npz", indptr=features.indptr, buckets=features.buckets, tokens=features.tokens)
        parts += 1
    ratio = np.log(aim / aim.sum() + 1e-8) - np.log(total / total.sum() + 1e-8)
    found = []
    for part in range(parts):
        with np.load(folder / f"{part}.npz") as stored:
            found.append(Features(**stored, size=spec.buckets).by_row(ratio))
    return np.concatenate(found)


def peak_memory() -> float:
    """The most memory that this process has had, in MB; Linux's own count, as getrusage's includes the parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def child(kind: str, raw: Path, target: Path, out: Path) -> None:
    """What runs in a process of its own: the job of a kind, or reading alone."""
    featurise(strings(["what is loaded or imported at first use is not timed"]), FeatureSpec())
    start = time.process_time()
    if kind == "read":
        count = sum(len(texts) for path in (target, raw) for texts in batches(path))
        np.save(out, np.zeros(count))
    else:
        with tempfile.TemporaryDirectory() as folder:
            np.save(out, weights(kind, raw, target, Path(folder)))
    seconds = time.process_time() - start
    print(json.dumps({"seconds": seconds, "peak": peak_memory()}))


def run(command: list[str], out: Path) -> tuple[dict[str, Any], Float64]:
    """What a process reports, and the weights that it wrote."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:] + "\nSee --help for how to get data-selection.")
    return json.loads(done.stdout.splitlines()[-1]), np.load(out)


def write(path: Path, texts: list[Chunk]) -> None:
    """JSONL with id, source and text."""
    lines = [json.dumps({"id": f"{i}", **chunk._asdict()}, ensure_ascii=False) for i, chunk in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def agreement(found: Float64, wanted: Float64) -> str:
    """How close weights are, and how far a selection by them is the same."""
    from scipy.stats import spearmanr

    k = max(1, len(found) // 20)
    top = [set(np.argsort(-values, kind="stable")[:k].tolist()) for values in (found, wanted)]
    differ, scale = np.abs(found - wanted).max(), np.abs(wanted).max()
    rank = spearmanr(found, wanted).statistic
    shared = len(top[0] & top[1]) / k
    return f"differ by at most {differ:.1e} of {scale:.0f}; Spearman {rank:.3f}; top 5% shared {shared:.3f}"


def main(count: int, official: str) -> None:
    """Runs all and prints a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = {size: folder / f"{size}.jsonl" for size in (count, 4 * count)}
        target, out = folder / "target.jsonl", folder / "out.npy"
        texts = documents(4 * count)
        for size, path in paths.items():
            write(path, texts[:size])
        write(target, list(chunks("manuals", sources()["manuals"][::7]))[:TARGET])
        megabytes = paths[count].stat().st_size / 1e6
        words = np.mean([len(chunk.text.split()) for chunk in texts[:count]])
        print(f"{len(texts[:count]):,} documents of {words:.0f} words, {megabytes:.1f} MB; one process")
        mine = [sys.executable, __file__, "--child"]
        theirs = [official, "-c", PEER]
        jobs = {
            "data-selection": [*theirs, str(paths[count]), str(target), str(out), "own"],
            "its tokenizer pinned": [*theirs, str(paths[count]), str(target), str(out), "pinned"],
            **{kind: [*mine, kind, str(paths[count]), str(target), str(out)] for kind in ("official", "fast", "read")},
        }
        results = {job: run(command, out) for job, command in jobs.items()}
        slowest = results["data-selection"][0]["seconds"] / count
        for job, (told, _) in results.items():
            each, more = told["seconds"] / count, ""
            if job in {"official", "fast", "read"}:  # the speed on 4 N, as N takes too short a time
                large = run([*mine, job, str(paths[4 * count]), str(target), str(out)], out)[0]
                each, more = large["seconds"] / len(texts), f", {large['peak']:.0f} MB for {len(texts):,}"
            speed = f"{1 / each:9,.0f} documents/s {megabytes / count / each:7.1f} MB/s {slowest / each:7.1f} times"
            print(f"{job:20} {speed}   peak {told['peak']:.0f} MB{more}")
        pinned = results["its tokenizer pinned"][1]
        print("official against the package, tokenizer pinned:", agreement(results["official"][1], pinned))
        print("fast against the package, tokenizer pinned:    ", agreement(results["fast"][1], pinned))
        print("the package's own tokenizer against pinned:    ", agreement(results["data-selection"][1], pinned))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], *map(Path, sys.argv[3:]))
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--documents", type=int, default=5000)
        parser.add_argument("--official", default=sys.executable, metavar="PYTHON")
        options = parser.parse_args()
        main(options.documents, options.official)
