"""`python -m speechlib train NAME`: makes a bundled checkpoint again.

input -> output: the words typed -> a training run in a folder, and the checkpoint in it.
"""

import importlib

RECIPES = {"whisper-digits": "speechlib.recipes.whisper_digits"}


def add_arguments(parser):
    parser.add_argument("name", choices=RECIPES, help="the checkpoint to make")
    parser.add_argument("--out", help="folder of the run (default: runs/NAME); an earlier run "
                        "found there goes on")  # fmt: skip
    parser.add_argument("--steps", type=int, default=8000, help="training steps (default 8000)")
    parser.add_argument("--batch", type=int, default=32, help="examples a step (default 32)")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate (default 0.001)")
    parser.add_argument("--decay", type=float, default=0.3, help="last, slowing share of steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="processor cores (default 2)")
    parser.add_argument("--library", metavar="FOLDER", nargs="*", default=[], help="libraries "
                        "made by `python -m speechlib.corpus.synthesise --out FOLDER`")  # fmt: skip
    parser.add_argument("--real", metavar="FOLDER", help="recordings named digit_speaker_index.wav "
                        "(Free Spoken Digit Dataset)")  # fmt: skip
    parser.add_argument("--leave-out", nargs="*", default=[], metavar="SPEAKER",
                        help="speakers of --real to watch instead of training on")  # fmt: skip
    parser.add_argument("--watch", type=int, default=80, help="test strings in each watched set")


def run(args) -> int:
    if args.steps < 1 or args.batch < 1:
        raise ValueError(f"--steps and --batch must be at least 1, got {args.steps}, {args.batch}")
    args.out = args.out or f"runs/{args.name}"
    return importlib.import_module(RECIPES[args.name]).run(args)
