"""The command line: one module a command, imported only when it is called; no logic of its own."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from posbench import __version__
from posbench.errors import PosbenchError

COMMANDS = {
    "eval": "evaluate a ranker on a dataset",
    "bias": "tell position bias from noise, in stored results or any table",
    "compose": "put the same evidence at chosen places of documents, for paired position curves",
    "score": "score a TREC run file against TREC qrels",
    "hnsw": "what an index, its parameters and the order of insertion cost",
    "input-order": "what the order of its input does to a reranker that reads lists",
    "rerank-strategies": "listwise reranking in one prompt, windows or partitions, at one budget of tokens",
    "labels": "make complete rankings as training labels",
    "select": "select documents that look like your own, and say how near they are",
    "saliency": "show which parts of a document move its score",
    "lid": "show the intrinsic dimension of a model's vectors, or of vectors in a file",
    "list": "list the shipped datasets, rankers or measures",
    "show": "show a recipe",
    "runs": "list stored results",
    "plot": "draw stored results as PNG, SVG or an interactive page",
    "mini": "find how few queries rank a set of rankers as all do, and write them",
    "compare": "compare rankers: paired tests, shared ranks, position bias",
    "findings": "test a paper's claims on its published figures",
    "site": "build the leaderboard as static pages, or look at it",
    "export": "write stored results as CSV, parquet, TREC runs or MTEB JSON",
    "import": "bring in published figures as leaderboard entries",
    "submit": "check a stored result and enter it in the leaderboard",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, 2 for an error of the caller's, 130 when interrupted."""
    argv = [*(sys.argv[1:] if argv is None else argv)]  # "list" is a command here
    if not argv or argv[0] not in COMMANDS:
        return _top(argv)
    module = import_module(f"posbench.cli.{argv[0].replace('-', '_')}")
    parser = argparse.ArgumentParser(prog=f"posbench {argv[0]}", description=module.__doc__)
    module.add_arguments(parser)
    args = parser.parse_args(argv[1:])
    args.command = " ".join(["posbench", *argv])
    try:
        return int(module.run(args))
    except PosbenchError as error:
        return _say(f"posbench: {error}", 2)
    except KeyboardInterrupt:
        return _say("posbench: interrupted; the same command goes on where this one stopped", 130)
    except BrokenPipeError:
        return 0
    except OSError as error:  # a full disk, a folder that may not be written
        return _say(f"posbench: {error.filename or 'input or output'}: {error.strerror or error}", 2)


def _top(argv: list[str]) -> int:
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="posbench",
        description="Retrieval and reranking evaluation that shows position bias, and how sure every figure is.",
        epilog=f"commands:\n{listing}\n\n`posbench COMMAND --help` explains one. Start with: posbench eval --model e5",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="posbench COMMAND [options]",
    )
    parser.add_argument("--version", action="version", version=f"posbench {__version__}")
    if not argv:
        parser.print_help()
        return 0
    _, rest = parser.parse_known_args(argv)
    from posbench.errors import unknown_name

    return _say(f"posbench: {unknown_name('command', rest[0], COMMANDS, '`posbench --help` lists them')}", 2)


def _say(text: str, status: int) -> int:
    sys.stderr.write(text + "\n")
    return status
