"""`python -m speechlib corpus download|build`: recordings of people; the bundled set."""

import argparse
from collections import defaultdict
from pathlib import Path


def add_arguments(parser) -> None:
    from speechlib.corpus import build

    actions = parser.add_subparsers(dest="action", required=True, metavar="download|build")
    fetch = actions.add_parser(
        "download", help="fetch a corpus of real recordings", epilog=_table(),
        description="Fetch a corpus of real recordings, once; goes on where it was stopped.",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    fetch.add_argument("name", help="one of the names below")
    fetch.add_argument("--folder", type=Path, help="where corpora are kept (default: "
                       "$SPEECHLIB_CORPORA, else the user's cache folder)")
    build.add_arguments(actions.add_parser("build", help="speak a bundled set again"))


def run(arguments) -> int:
    if arguments.action == "build":
        from speechlib.corpus import build

        return build.run(arguments)
    return _download(arguments)


def _download(arguments) -> int:
    from speechlib.corpus import downloads

    corpus = downloads.download(arguments.name, folder=arguments.folder)
    counts, voices, seconds = defaultdict(int), defaultdict(set), defaultdict(float)
    for utterance in corpus:
        counts[utterance.split] += 1
        voices[utterance.split].add(utterance.voice)
        seconds[utterance.split] += utterance.duration_s
    for split in sorted(counts, key=downloads.utterances.SPLITS.index):
        print(f"{split}: {counts[split]} utterances, {len(voices[split])} voices, "
              f"{seconds[split]:.0f} s")
    source = downloads.SOURCES[arguments.name]
    print(f"{corpus.folder}: {source.licence}, {source.page}")
    return 0


def _table() -> str:
    from speechlib.corpus.downloads import SOURCES

    rows = []
    for name, source in SOURCES.items():
        size = sum(archive.size or 0 for archive in source.archives)
        rows.append(f"  {name:<28}{source.what} ({f'{size / 1e6:,.0f} MB, ' if size else ''}"
                    f"{source.licence})")
    return "\n".join(rows)
