"""quick-digits: from nothing to a recogniser of spoken digits, in under three minutes on two cores.

input -> output: the bundled corpus -> a small Whisper, and what can be watched on the way.
Special: sized for a lesson. Two encoder blocks and one decoder block of width 96 hear windows of
3 s; everything comes from the bundled corpus, mixed on the fly; the number of steps is fixed, not
the time, so that one seed gives one model. Nothing is shipped: it is made where it is needed.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import speechlib as sl
from speechlib import corpus, training
from speechlib.configs import WhisperConfig
from speechlib.corpus.mixing import Mix, Mixer
from speechlib.recipes import digit_figures, scoring, whisper_digits
from speechlib.recipes.watching import Watched
from speechlib.recipes.whisper_digits import (
    FIRST_WORD,
    PROMPT,
    labels_of,
    token_of,
    word_error_rate,
)
from speechlib.recipes.with_reader import WithReader
from speechlib.tokenizers import DIGIT_WORDS
from speechlib.torch_models.loading import load
from speechlib.torch_models.whisper import Whisper

NAME = "quick-digits"
SECONDS = 3  # one window
WINDOWS, WINDOW_SHARES = (1.6, 2.2, SECONDS), (0.4, 0.35, 0.25)  # seconds, while training
MIX = {"real": 0.0, "synthetic": 0.6, "string": 0.35, "other": 0.0, "silence": 0.05,
       "rooms": 0.15, "clean": 0.4, "least_snr_db": 10.0,
       "as_recorded": 0.8, "cut_close": False}  # fmt: skip
PARTS = 3  # of a word, that the reader tells apart: learnt sooner than whole words
SHOWN = 46  # of the valid strings: four digits, none twice
DEFAULTS = {"steps": 1080, "batch": 32, "rate": 3e-3, "decay": 0.5}
TAKES = ()
LOOKS, MEASURES = 30, 12  # how often a run is looked at, and measured


def config() -> WhisperConfig:
    """As `whisper-digits`, smaller: 0.44 million parameters."""
    whole, width = whisper_digits.config(), 96
    # without dropout: a run this short sees nothing twice
    block = {"width": width, "heads": 4, "feed_forward": 4 * width, "dropout": 0.0}
    return replace(
        whole,
        encoder=replace(whole.encoder, **block),
        decoder=replace(whole.decoder, **block),
        encoder_layers=2,
        decoder_layers=1,
        frames=SECONDS * 50,
        slots=20,
        init_std=width**-0.5,
        spec_augment=None,
    )


def batches(clips, batch, seed):
    """-> function step -> (mel (batch, mel bins, mel frames), labels (batch, tokens), what is said
    in each encoder frame (batch, frames): 0 nothing, else 1 + PARTS * the digit + its part).

    Three of four batches are shorter than the window, which saves a third of the time."""
    mixer = Mixer(clips, Mix(mel_frames=SECONDS * 100, **MIX), seed=seed)

    def batch_at(step):
        seconds = np.random.default_rng((seed, step)).choice(WINDOWS, p=WINDOW_SHARES)
        mix = replace(mixer.mix, mel_frames=round(100 * seconds))
        examples = [mixer.example(step * batch + n, mix) for n in range(batch)]
        said = torch.zeros(batch, mix.mel_frames // 2, dtype=torch.long)
        for row, (_, words) in enumerate(examples):
            for word, first, end in words:
                frames = torch.arange(end // 2 - first // 2)
                part = frames * PARTS // max(1, len(frames))
                said[row, first // 2 : end // 2] = 1 + PARTS * DIGIT_WORDS.index(word) + part
        return torch.from_numpy(np.stack([mel for mel, _ in examples])), labels_of(examples), said

    return batch_at


def strings(split):
    """(log-mel, words) of the strings of a split that fit into one window."""
    return [(u.mel(pad_to_seconds=SECONDS), tuple(u.text.split()))
            for u in corpus.digits(split) if u.duration_s <= SECONDS]  # fmt: skip


def watched() -> Watched:
    """The valid string that is looked at while the model learns."""
    spoken = corpus.digits("valid")[SHOWN]
    tokens = [token_of(word) for word, _, _ in spoken.words]
    names = dict(enumerate(DIGIT_WORDS, start=FIRST_WORD))
    mel = spoken.mel(pad_to_seconds=SECONDS)
    return Watched(mel, spoken.words, tokens, PROMPT, lambda token: names.get(token, ""))


@dataclass(frozen=True)
class Trained:
    """What a run gives."""

    model: Whisper  # as `sl.load` gives it: for sl.transcribe, sl.generate, sl.trace
    log: list  # a row a step
    live: object  # `viz.LiveTraining`: .film() is the way from fog to a diagonal


def train_quickly(folder="runs/quick-digits", *, steps=None, seed=0, threads=2, live=True, **plan):
    """Trains a digit recogniser from nothing, in view of the reader -> `Trained`.

    Interrupted (■ in the notebook), it gives back what has been learned so far.
    folder: the run is kept here; what an earlier run left is replaced. steps: None is the number
    that makes it usable. live: show curves and cross-attention in the notebook while it learns;
    False: only print what is measured. plan: batch, rate or decay, other than in DEFAULTS.
    """
    chosen = DEFAULTS | plan | ({} if steps is None else {"steps": steps})
    if unknown := set(chosen) - set(DEFAULTS):
        raise ValueError(f"expected {', '.join(DEFAULTS)}, got {', '.join(sorted(unknown))}")
    folder, before = Path(folder), torch.get_num_threads()
    (folder / "state.pt").unlink(missing_ok=True)
    torch.set_num_threads(threads)
    try:
        log, view = _train(folder, seed=seed, show=live, stoppable=True, **chosen)
    finally:
        torch.set_num_threads(before)
    return Trained(load(str(folder / NAME)), log, view)


def _train(folder, *, steps, batch, rate, decay, seed, show, stoppable=False):
    """-> log and view; the checkpoint is written into folder / NAME."""
    from speechlib.viz.training_view import LiveTraining

    torch.manual_seed(seed)
    model = WithReader(Whisper(config()), names=1 + PARTS * len(DIGIT_WORDS), share=1.0)
    one, valid = watched(), strings("valid")
    view = LiveTraining(one.mel, one.words, steps)
    every = max(1, steps // LOOKS)

    def look(step):
        view.seen(one.look(model.whisper, step), draw=show)

    def on_row(row):
        view(row)
        if row["step"] % every == 0:
            look(row["step"])

    if show:
        view.show()
    look(0)
    plan = training.Plan(
        steps=steps,
        seed=seed,
        rate=rate,
        decay=decay,
        warmup=50,
        evaluate_every=max(1, steps // MEASURES),
        bfloat16=False,  # most laptops have no instructions for it
    )
    try:
        log = training.train(
            model,
            batches(list(whisper_digits.corpus_clips("train")), batch, seed),
            plan,
            folder,
            evaluate=lambda m: {"words wrong": word_error_rate(m.whisper, valid)},
            on_row=on_row,
            progress=not show,
        )
    except KeyboardInterrupt:
        if not stoppable or not view.rows:
            raise
        log = view.rows
        print(f"stopped at step {log[-1]['step']} of {steps}; this is the model as it is now, and "
              "the next run begins anew")  # fmt: skip
    whisper_digits.write_checkpoint(model.whisper, folder / NAME)
    view.rows = log  # of a run that went on, the earlier rows too
    look(log[-1]["step"])
    view.finish()
    return log, view


def run(args) -> int:
    """`python -m speechlib train quick-digits`: trains, and draws what was seen."""
    from speechlib.viz.display import png_bytes

    torch.set_num_threads(args.threads)
    folder = Path(args.out)
    numbers = {name: getattr(args, name) for name in DEFAULTS}
    _, view = _train(folder, seed=args.seed, show=False, **numbers)
    for name, figure in {"film": view.film().figure, "last": view.figure}.items():
        (folder / f"{name}.png").write_bytes(png_bytes(figure))
    print(f"the model is in {folder / NAME}, pictures of its training in {folder}")
    return 0


def measure(model, args=None) -> dict:
    """On voices never trained on: strings of 1 to 3 digits, all (up to 4), and real people."""
    short = [u for u in corpus.digits("test") if len(u.words) <= 3]
    pairs = [(u.text, sl.transcribe(u.wave(), model).text) for u in short]
    voices = len({u.voice for u in short})
    on = f"{voices} synthetic voices of the corpus' test split, strings of 1 to 3 digits"
    told = args is not None and args.real
    return {
        "test": scoring.wer_figure(pairs, on),
        "test_all": digit_figures.on_corpus(model, "test"),
        "valid": digit_figures.on_corpus(model, "valid"),
        **(digit_figures.on_people(model, args.real, args.only) if told else {}),
    }
