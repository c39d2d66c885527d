"""`python -m speechlib evaluate NAME…`: what a trained model is worth, measured and written down.

input -> output: names of checkpoints, or folders -> a table each on stdout; the figures in
`card.json`, the checkpoint part of data/README.md, and a picture of what is taken for what.
Special: nothing is fetched; a recipe's `measure` knows what its model is for.
"""

import warnings
from pathlib import Path

from speechlib.recipes import command


def add_arguments(parser):
    parser.add_argument("names", nargs="*", metavar="NAME", help="a bundled checkpoint "
                        f"({', '.join(command.BUNDLED)}) or a folder, such as "
                        "runs/quick-digits/quick-digits")  # fmt: skip
    parser.add_argument("--all", action="store_true", help="every bundled checkpoint")
    parser.add_argument("--as", dest="kind", metavar="NAME", help="measure a folder as this "
                        "checkpoint (default: as the folder is called)")  # fmt: skip
    parser.add_argument("--real", metavar="FOLDER", help="recordings of people, for "
                        "digits: digit_speaker_index.wav (Free Spoken Digit Dataset)")  # fmt: skip
    parser.add_argument("--only", nargs="+", default=[], metavar="SPEAKER", help="speakers of "
                        "--real that were never trained on")  # fmt: skip
    parser.add_argument("--from-cards", action="store_true", help="measure nothing; write the "
                        "tables and pictures of all bundled checkpoints again, from what their "
                        "cards say")  # fmt: skip
    parser.add_argument("--no-write", action="store_true", help="show, and leave every file alone")


def run(args) -> int:
    """Measures one after the other; what cannot be measured is told before the first."""
    from speechlib.recipes import cards

    _possible(args)
    if args.from_cards:
        return _written_again()
    jobs = [_opened(name, args.kind) for name in _names(args)]
    for number, (folder, kind) in enumerate(jobs):
        figures, parameters = _measured(folder, kind, args)
        card = cards.read(folder)
        card["parameters"] = parameters
        card["metrics"] = figures | {
            name: old for name, old in card.get("metrics", {}).items() if name not in figures
        }
        print("\n" * bool(number) + "\n".join(_shown(folder.name, card, figures)), flush=True)
        if not args.no_write:
            _write(folder, card)
    return 0


def _possible(args):
    if args.from_cards:
        others = args.names or args.all or args.kind or args.real or args.only or args.no_write
        if others:
            raise ValueError("--from-cards measures nothing: give it alone")
        return
    if not args.names and not args.all:
        raise ValueError(f"name a checkpoint ({', '.join(command.BUNDLED)}), a folder, or --all")
    if bool(args.real) != bool(args.only):
        raise ValueError("--real FOLDER and --only SPEAKER … go together: the folder, and who in "
                         "it was never trained on")  # fmt: skip
    if args.real and not Path(args.real).is_dir():
        raise ValueError(f"--real: there is no folder {args.real}")
    if args.kind:
        command.recipe(args.kind)


def _names(args):
    if not args.all:
        return args.names
    if args.names:
        raise ValueError(f"--all and {args.names[0]!r}: give one or the other")
    from speechlib import checkpoints, paths

    bundled = [one["name"] for one in checkpoints.available() if one["name"] in command.RECIPES]
    if not bundled:
        raise ValueError(f"--all: there are no checkpoints in {paths.data_folder()}")
    return bundled


def _opened(name, kind):
    """-> (folder, the checkpoint that it is measured as). Nothing is loaded yet."""
    from speechlib import checkpoints, paths

    if not Path(name).is_dir() and name not in command.BUNDLED:
        raise ValueError(
            f"{name!r} is neither a folder nor a bundled checkpoint that can be measured; those "
            f"are {', '.join(command.BUNDLED)}"
        )
    found = checkpoints.open_checkpoint(name)
    kind = kind or found.folder.resolve().name
    if kind not in command.RECIPES:
        raise ValueError(
            f"which checkpoint is {name}? --as NAME tells: {', '.join(command.RECIPES)}"
        )
    bundled = paths.data_folder() / "checkpoints" / kind
    if (bundled / "config.json").is_file():
        wanted = checkpoints.open_checkpoint(bundled).architecture
        if found.architecture != wanted:
            raise ValueError(f"{name} is a {found.architecture}; {kind} is a {wanted}")
    return found.folder, kind


def _measured(folder, kind, args):
    import speechlib as sl

    model = sl.load(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of single recordings
        figures = command.recipe(kind).measure(model, args)
    return figures, sum(parameter.numel() for parameter in model.parameters())


def _shown(name, card, figures):
    """The table for the terminal, line by line."""
    from speechlib.recipes import cards

    told = f"{card.get('system', 'a model')} of {card['parameters']:,} parameters"
    yield f"{name}: {told}" + (f", to {card['task']}" if "task" in card else "")
    head = ("", "result", "95 % interval", "items", "baselines")
    rows = [head]
    for called, figure in figures.items():
        items, result, interval, baseline = cards.row(figure)
        rows.append((called, result, interval, items, baseline))
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {line.rstrip()}"
    for called, figure in figures.items():
        yield f"  {called}: {figure['on']}"


def _write(folder, card):
    """The card; its picture; and where the folder is bundled, data/README.md."""
    from speechlib import paths
    from speechlib.recipes import cards

    data = paths.data_folder()
    cards.write(folder, card)
    print(f"wrote {folder / 'card.json'}")
    bundled = folder.resolve().parent == (data / "checkpoints").resolve()
    name = f"{folder.name}-confusion.png" if bundled else "confusion.png"
    _draw((data / "pictures" if bundled else folder) / name, card, folder.name)
    if bundled and cards.write_readme(data):
        print(f"wrote {data / 'README.md'}")


def _written_again() -> int:
    from speechlib import paths
    from speechlib.recipes import cards

    data = paths.data_folder()
    for folder in sorted(file.parent for file in (data / "checkpoints").glob("*/card.json")):
        _draw(data / "pictures" / f"{folder.name}-confusion.png", cards.read(folder), folder.name)
    if not cards.write_readme(data):
        raise ValueError(f"{data / 'README.md'} has no place for checkpoints: {cards.BEGIN}")
    print(f"wrote {data / 'README.md'}")
    return 0


def _draw(path, card, name):
    """What the checkpoint confuses, where its card says so."""
    from speechlib import paths
    from speechlib.recipes import cards
    from speechlib.viz import confusion_plots, display

    table = cards.confused(card)
    if table is None:
        return
    drawn = confusion_plots.plot_confusion(
        table["counts"], table["labels"], title=cards.title(name)
    )
    content = display.png_bytes(drawn.figure)
    path.parent.mkdir(exist_ok=True)
    paths.write_whole(path, lambda temporary: Path(temporary).write_bytes(content))
    print(f"wrote {path}")
