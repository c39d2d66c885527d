"""What a digits checkpoint is worth, measured on voices it never heard.

input -> output: a model -> the figures of its card, each with its number of items and its interval.
`python -m speechlib evaluate whisper-digits [--real FOLDER --only SPEAKER …]` shows them.
"""

import numpy as np

import speechlib as sl
from speechlib import audio, corpus
from speechlib.recipes import people, scoring
from speechlib.tokenizers import DIGIT_WORDS


def measure(model, args=None, times=True):
    """Every figure; args: what `evaluate` was told, `.real` a folder and `.only` speakers. times:
    those of words as well."""
    told = args is not None and args.real
    return {
        "test": on_corpus(model, "test", confused=True),
        "valid": on_corpus(model, "valid"),
        "other_sounds": on_other_sounds(model),
        **({"word_times": word_times(model, "test")} if times else {}),
        **(on_people(model, args.real, args.only) if told else {}),
    }


def on_corpus(model, split, confused=False):
    """WER on the digit strings of a split of the bundled corpus; confused: digit by digit too."""
    pairs = [(u.text, sl.transcribe(u.wave(), model).text) for u in corpus.digits(split)]
    voices = {u.voice for u in corpus.digits(split)}
    more = {"confusion": scoring.word_confusion(pairs, DIGIT_WORDS)} if confused else {}
    on = f"{len(voices)} synthetic voices of the corpus' {split} split"
    return scoring.wer_figure(pairs, on, **more)


def on_people(model, folder, speakers, count=200, seed=11):
    """WER on single recordings of these speakers, drawn `count` times, or each once where there are
    no more; and on `count` strings of 1 to 4 of them, the speakers taking turns."""
    rng = np.random.default_rng(seed)
    said = {
        speaker: [
            (audio.load(path), word)
            for path, word, _ in people.recordings(folder, only=[speaker], indices=people.EVERY)
        ]
        for speaker in speakers
    }
    each = [one for recordings in said.values() for one in recordings]
    if len(each) > count:
        single = people.strings(said, count, 1, rng)
    else:
        single = [people.joined([one], rng) for one in each]
    name = speakers[0] if len(speakers) == 1 else "people"
    kinds = {"single": single, "strings": people.strings(said, count, 4, rng)}
    return {
        f"{name}_{kind}": scoring.wer_figure(
            [(text, sl.transcribe(wave, model).text) for wave, text in found],
            f"{', '.join(speakers)}, {kind}, never trained on",
        )
        for kind, found in kinds.items()
    }


def other_sounds():
    """The test recordings without digits."""
    return [u for kind in ("words", "noise", "silence") for u in corpus.digits("test", kind)]


def on_other_sounds(model):
    """How often something is written where there are no digits."""
    clips = other_sounds()
    written = [one for one in (sl.transcribe(clip.wave(), model) for clip in clips) if one.text]
    figures = {
        "on": "test recordings without digits: other words, noises, silences",
        "recordings": len(clips),
        "with_text": len(written),
    }
    sure = [one.segments[0].get("probability") for one in written]
    if None not in sure:  # CTC does not say how sure it is
        figures["with_text_at_80_percent_or_more"] = sum(share >= 0.8 for share in sure)
    return figures


def word_times(model, split):
    """Median error of a word's start and end, where the text is right."""
    starts, ends = [], []
    for spoken in corpus.digits(split):
        found = sl.transcribe(spoken.wave(), model, words=True)
        if found.text == spoken.text:
            starts += [abs(f[1] - w[1]) for f, w in zip(found.words, spoken.words, strict=True)]
            ends += [abs(f[2] - w[2]) for f, w in zip(found.words, spoken.words, strict=True)]
    return {
        "on": f"words of the corpus' {split} split that were written rightly",
        "words": len(starts),
        "median_start_error_s": float(np.median(starts)) if starts else None,
        "median_end_error_s": float(np.median(ends)) if ends else None,
    }
