"""What a digits checkpoint is worth, measured on voices it never heard; written into its card.

input -> output: a checkpoint folder -> its `card.json`, with every figure's number of items and
interval. `python -m speechlib.recipes.measuring FOLDER [--real FOLDER --only SPEAKER …]`
"""

import argparse
import json
import warnings
from pathlib import Path

import numpy as np

import speechlib as sl
from speechlib import audio, corpus, metrics
from speechlib.recipes import alignment_heads, whisper_digits

GAP_S = (0.1, 0.5)  # silence between the recordings that are joined to a string


def _rate(pairs, what):
    """(wanted, written) texts -> a figure with its interval."""
    wanted, written = zip(*pairs, strict=True)
    low, high = metrics.wer_interval(wanted, written)
    return {
        "on": what,
        "word_error_rate": round(metrics.wer(wanted, written), 4),
        "interval_95": [round(low, 4), round(high, 4)],
        "recordings": len(wanted),
        "words": sum(len(text.split()) for text in wanted),
    }


def on_corpus(model, split):
    """WER on the digit strings of a split of the bundled corpus."""
    pairs = [(u.text, sl.transcribe(u.wave(), model).text) for u in corpus.digits(split)]
    voices = {u.voice for u in corpus.digits(split)}
    return _rate(pairs, f"{len(voices)} synthetic voices of the corpus' {split} split")


def on_people(model, folder, speakers, count=200, seed=11):
    """WER on strings of 1 to 4 joined recordings of each speaker, and on single ones."""
    rng, figures = np.random.default_rng(seed), {}
    for speaker in speakers:
        paths = sorted(Path(folder).glob(f"*_{speaker}_*.wav"))
        for name, longest in (("single", 1), ("strings", 4)):
            pairs = []
            for number in range(count):
                chosen = [paths[n] for n in rng.integers(len(paths), size=number % longest + 1)]
                text = " ".join(whisper_digits.DIGIT_WORDS[int(p.stem[0])] for p in chosen)
                pairs.append((text, sl.transcribe(_joined(chosen, rng), model).text))
            figures[f"{speaker}_{name}"] = _rate(pairs, f"{speaker}, {name}, never trained on")
    return figures


def _joined(paths, rng):
    parts = [np.zeros(audio.SAMPLE_RATE // 5, np.float32)]
    for path in paths:
        gap = np.zeros(int(rng.uniform(*GAP_S) * audio.SAMPLE_RATE), np.float32)
        parts += [audio.load(path), gap]
    return np.concatenate(parts)


def on_other_sounds(model):
    """How often something is written where there are no digits."""
    clips = corpus.digits(kind="words") + corpus.digits(kind="noise")
    clips = [clip for clip in clips + corpus.digits(kind="silence") if clip.split == "test"]
    written = [sl.transcribe(clip.wave(), model) for clip in clips]
    return {
        "on": "test recordings without digits: other words, noises, silences",
        "recordings": len(clips),
        "with_text": sum(bool(one.text) for one in written),
        "with_text_at_80_percent_or_more": sum(
            bool(one.text) and one.segments[0]["probability"] >= 0.8 for one in written
        ),
    }


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
        "median_start_error_s": round(float(np.median(starts)), 3),
        "median_end_error_s": round(float(np.median(ends)), 3),
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--real", metavar="FOLDER", help="recordings digit_speaker_index.wav")
    parser.add_argument("--only", nargs="*", default=[], help="speakers that were not trained on")
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore", UserWarning)
    settings_file = args.folder / "generation_config.json"
    settings = json.loads(settings_file.read_text())
    heads = alignment_heads.alignment_heads(sl.load(args.folder), corpus.digits("valid"))
    settings["alignment_heads"] = heads
    settings_file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    model = sl.load(args.folder)
    figures = {"test": on_corpus(model, "test"), "valid": on_corpus(model, "valid")}
    if args.only:
        figures |= on_people(model, args.real, args.only)
    figures["other_sounds"] = on_other_sounds(model)
    figures["word_times"] = word_times(model, "test")
    print(json.dumps(figures, indent=2))
    card_file = args.folder / "card.json"
    card = json.loads(card_file.read_text()) if card_file.is_file() else {}
    card |= {"parameters": sum(p.numel() for p in model.parameters())}
    card["metrics"] = card.get("metrics", {}) | figures
    card_file.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
