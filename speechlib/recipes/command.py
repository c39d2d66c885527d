"""`python -m speechlib train NAME`: makes a bundled checkpoint again.

input -> output: the words typed -> a training run in a folder, and the checkpoint in it.
Special: a recipe is a module with NAME, DEFAULTS (the numbers its weights were made with), TAKES
(the options beside the common ones that it uses), `run(args) -> exit code` and `measure(model,
args=None) -> figures`; here it is one row. Its file is imported when it is asked for.
"""

import importlib
from pathlib import Path

# checkpoint -> the module that makes and measures it
RECIPES = {
    "whisper-digits": "speechlib.recipes.whisper_digits",
    "whisper-commands": "speechlib.recipes.whisper_commands",
    "whisper-keywords": "speechlib.recipes.whisper_keywords",
    "wavlm-pretrained": "speechlib.recipes.wavlm_pretrained",
    "wavlm-contrastive": "speechlib.recipes.wavlm_contrastive",
    "wavlm-ctc": "speechlib.recipes.wavlm_ctc",
    "wavlm-keywords": "speechlib.recipes.wavlm_keywords",
    "wavlm-turns": "speechlib.recipes.wavlm_turns",
    "wavlm-voices": "speechlib.recipes.wavlm_voices",
    "numbers-en-de": "speechlib.recipes.numbers_en_de",
    "quick-digits": "speechlib.recipes.quick_digits",
}
BUNDLED = [name for name in RECIPES if name != "quick-digits"]  # made where it is needed
OPTIONS = ("data", "start", "library", "real", "leave_out", "watch")  # each not for all recipes
# for a recipe whose DEFAULTS say nothing of it
COMMON = {
    **{"steps": 8000, "batch": 32, "rate": 1e-3, "decay": 0.3},
    **{"seed": 0, "threads": 2, "watch": 80},
}


def recipe(name):
    """The module of a checkpoint. Raises ValueError for a name without a recipe."""
    if name not in RECIPES:
        raise ValueError(f"there is no recipe for {name!r}; there are {', '.join(RECIPES)}")
    return importlib.import_module(RECIPES[name])


def add_arguments(parser):
    own = "(default: the recipe's own)"
    parser.add_argument("name", choices=RECIPES, help="the checkpoint to make")
    parser.add_argument("--out", help="folder of the run (default: runs/NAME); an earlier run "
                        "found there goes on")  # fmt: skip
    parser.add_argument("--steps", type=int, help=f"training steps {own}")
    parser.add_argument("--batch", type=int, help=f"examples a step {own}")
    parser.add_argument("--rate", type=float, help=f"learning rate {own}")
    parser.add_argument("--decay", type=float, help=f"last, slowing share of steps {own}")
    parser.add_argument("--seed", type=int, help=f"of everything drawn {own}")
    parser.add_argument("--threads", type=int, help="processor cores (default 2)")
    parser.add_argument("--data", metavar="FOLDER", nargs="*", default=[], help="sets made by "
                        "`python -m speechlib corpus build --out FOLDER` (default: the bundled "
                        "one)")  # fmt: skip
    parser.add_argument("--start", metavar="CHECKPOINT", help="weights to start from: a folder or "
                        f"a bundled name {own}")  # fmt: skip
    parser.add_argument("--library", metavar="FOLDER", nargs="*", default=[], help="libraries "
                        "made by `python -m speechlib.corpus.synthesise --out FOLDER`")  # fmt: skip
    parser.add_argument("--real", metavar="FOLDER", help="recordings named digit_speaker_index.wav "
                        "(Free Spoken Digit Dataset)")  # fmt: skip
    parser.add_argument("--leave-out", nargs="*", default=[], metavar="SPEAKER",
                        help="speakers of --real to watch instead of training on")  # fmt: skip
    parser.add_argument("--watch", type=int, help=f"items in each watched set {own}")


def run(args) -> int:
    module = recipe(args.name)
    _refuse_unused(args, module.TAKES)
    complete(args, getattr(module, "DEFAULTS", {}))
    return module.run(args)


def _refuse_unused(args, takes):
    """What a recipe would not look at is an error, not silently left out."""
    unused = [name for name in OPTIONS if getattr(args, name, None) and name not in takes]
    if unused:
        told = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
        also = ", ".join(f"--{name.replace('_', '-')}" for name in takes) or "none of these"
        raise ValueError(f"{args.name} does not use {told}; of such options it takes {also}")


def complete(args, defaults):
    """Fills what was not typed from the recipe's DEFAULTS, and looks whether the rest can be."""
    for name, value in (COMMON | {"out": f"runs/{args.name}"} | defaults).items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)
    for name in ("steps", "batch", "threads", "watch"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} must be at least 1, got {getattr(args, name)}")
    if args.seed < 0:
        raise ValueError(f"--seed must be 0 or more, got {args.seed}")
    if not 0 < args.rate < float("inf"):
        raise ValueError(f"--rate must be more than 0, 0.001 for example, got {args.rate}")
    if not 0 <= args.decay <= 1:
        raise ValueError(f"--decay is a share of the steps, 0 to 1, got {args.decay}")
    named = [("data", one) for one in args.data] + [("library", one) for one in args.library]
    for name, folder in [*named, *([("real", args.real)] if args.real else [])]:
        if not Path(folder).is_dir():
            raise ValueError(f"--{name}: there is no folder {folder}")
    for folder in args.library:
        if not any(Path(folder).glob("*/*.npz")):
            raise ValueError(
                f"--library: {folder} holds no library; `python -m speechlib.corpus.synthesise "
                "--out FOLDER` makes one"
            )
    if args.leave_out and not args.real:
        raise ValueError("--leave-out names speakers of --real FOLDER, which was not given")
