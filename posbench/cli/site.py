"""Build the leaderboard as one folder of static files, or look at it."""

import argparse
from pathlib import Path

from posbench.cli import common

TARGET = Path("posbench-site")
PORT = 8000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench site``."""
    parser.add_argument("action", choices=("build", "serve"), help="write the folder; or show it to this machine alone")
    parser.add_argument(
        "--results",
        type=Path,
        nargs="+",
        action="extend",
        metavar="DIR",
        help="folders of stored results (default: that of --out, if it is there)",
    )
    parser.add_argument(
        "--entries", type=Path, nargs="+", action="extend", default=[], metavar="DIR", help="more folders of entries"
    )
    parser.add_argument("--to", type=Path, default=TARGET, metavar="DIR", help=f"the site (default {TARGET})")
    parser.add_argument("--port", type=int, default=PORT, help=f"that serve listens on (default {PORT})")
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Builds or serves."""
    return _build(args) if args.action == "build" else _serve(args)


def _build(args: argparse.Namespace) -> int:
    from posbench.site.build import build, expect_site
    from posbench.site.collect import SHIPPED, collect
    from posbench.store import Cache

    expect_site(args.to, new=True)
    results = args.results or ([args.out] if args.out.is_dir() else [])
    with common.progress(args) as progress:
        site = collect([SHIPPED, *args.entries], results, Cache(args.cache), progress)
        files = build(site, args.to)
    for text in site.remarks:
        common.remark(args, f"posbench: {text}")
    models = {name for board in site.boards for name in board.models}
    size = sum((args.to / path).stat().st_size for path in files)
    first = str(args.to / "index.html")
    if args.json:
        counts = {"boards": len(site.boards), "models": len(models), "files": len(files), "bytes": size}
        common.print_json({"site": str(args.to), **counts, "remarks": list(site.remarks)})
        return 0
    common.echo(
        f"{first}  {len(site.boards)} boards, {len(models)} models, {len(files)} files, {size / 1e6:.1f} MB; "
        "open it from here or from any static host"
    )
    return 0


def _serve(args: argparse.Namespace) -> int:
    from posbench.site.build import expect_site
    from posbench.site.serve import server

    expect_site(args.to)
    with server(args.to, args.port) as serving:
        common.remark(args, f"http://127.0.0.1:{serving.server_port}/  (Ctrl-C ends it)")
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            common.remark(args, "ended")
    return 0
