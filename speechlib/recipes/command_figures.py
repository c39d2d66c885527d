"""What whisper-commands is worth: words, times of segments, and silence where nothing is said.

input -> output: a model -> the figures of its card, each with its number of items and its interval.
Special: a segment's times are compared with the first sound of its first word and the last of its
last word, as the synthesiser has them, where the words are right.
"""

from collections import Counter

import numpy as np
import torch

from speechlib import audio, corpus, generation_rules, metrics
from speechlib.recipes import digit_figures, scoring, whisper_commands
from speechlib.torch_models.generation import generate_from, search_named
from speechlib.torch_models.transcription import transcribe

GAP_S = (0.2, 1.0)  # silence that is put between two utterances
NEAR_S = 0.1  # a segment's times are to be within this
PAIRS = 60  # windows of two commands


def spans_of(utterances, rng, longest_gap_s=GAP_S[1]):
    """One utterance after another in one wave -> the wave, (text, start_s, end_s) of each."""
    parts, spans, at = [], [], 0
    for spoken in utterances:
        if parts:
            gap_s = rng.uniform(GAP_S[0], longest_gap_s)
            parts.append(np.zeros(round(gap_s * audio.SAMPLE_RATE), np.float32))
            at += len(parts[-1])
        wave = spoken.wave()
        begin = at / audio.SAMPLE_RATE
        spans.append((spoken.text, begin + spoken.words[0][1], begin + spoken.words[-1][2]))
        parts.append(wave)
        at += len(wave)
    return np.concatenate(parts), spans


def pairs_of(utterances, count, seed=5):
    """`count` times two utterances of the list after another, short enough for a window."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < count:
        two = [utterances[n] for n in rng.choice(len(utterances), 2, replace=False)]
        if sum(u.duration_s for u in two) + GAP_S[1] < whisper_commands.SECONDS:
            found.append(spans_of(two, rng))
    return found


# ------------------------------------------------------------------------------ for the card


def measure(model, args=None) -> dict:
    """Every figure; args: what `evaluate` was told, nothing of it is needed here."""
    test = corpus.commands("test")
    keywords = corpus.commands("test", kind="keyword")
    voices = f"{len({u.voice for u in test})} synthetic voices of the corpus' test split"
    commonest = Counter(u.text for u in test).most_common(1)[0][0]
    baseline = {"majority": metrics.wer([u.text for u in test], [commonest] * len(test))}
    rng = np.random.default_rng(7)
    single, pairs = [spans_of([one], rng) for one in test], pairs_of(test, PAIRS)
    timed, two = [_marked(model, one) for one in single], [_marked(model, one) for one in pairs]
    on_test = f"commands, {voices}"
    on_pairs = "two of these commands in one window, 0.2 to 1 s between them"
    valid = corpus.commands("valid", kind=None)
    return {
        "test": scoring.wer_figure(_written_down(model, test), on_test, baseline=baseline),
        "test_with_times": scoring.wer_figure(_texts(timed), f"{on_test}, written with times"),
        "segment_times": _errors(timed, f"{on_test}: where a segment begins and ends"),
        "two_commands": scoring.wer_figure(_texts(two), f"{on_pairs}, written with times"),
        "two_commands_times": _errors(two, f"{on_pairs}: where a segment begins and ends"),
        "long": scoring.wer_figure(_long(model), "recordings of 10 to 21 s, six commands of one "
                                   "test voice each, read window after window"),
        "keywords": scoring.wer_figure(
            _written_down(model, keywords), f"single words, {voices}"
        ),
        "valid": scoring.wer_figure(
            _written_down(model, valid), "commands and single words of the corpus' valid split"
        ),
        "word_times": _word_times(model, test),
        "other_sounds": _other_sounds(model),
    }  # fmt: skip


def _written_down(model, utterances):
    return [(spoken.text, transcribe(spoken.wave(), model).text) for spoken in utterances]


def _marked(model, window):
    """(wave, spans) -> spans, and those that the model writes: lists of (text, start_s, end_s)."""
    wave, spans = window
    found = transcribe(wave, model, timestamps=True).segments
    return spans, [(one["text"], one["start_s"], one["end_s"]) for one in found]


def _texts(marked):
    return [tuple(" ".join(text for text, *_ in side) for side in sides) for sides in marked]


def _errors(marked, on):
    """How far the times lie from the true ones, where there are as many segments as commands."""
    alike = [(spans, found) for spans, found in marked if len(spans) == len(found)]
    errors = [
        abs(one - other)
        for spans, found in alike
        for span, segment in zip(spans, found, strict=True)
        for one, other in zip(span[1:], segment[1:], strict=True)
    ]
    most = scoring.figure("most_error_s", lambda e: np.quantile(e, 0.9), errors, on)
    return scoring.figure(
        "median_error_s",
        np.median,
        errors,
        on,
        counted="times",
        nine_of_ten_within_s=most["most_error_s"],
        within_100_ms_share=float(np.mean(np.array(errors) <= NEAR_S)),
        windows_with_all_segments_share=len(alike) / len(marked),
    )


def _long(model, count=6, seed=9):
    """Each test voice says six commands, up to 2 s apart -> (wanted, written) texts."""
    rng, pairs = np.random.default_rng(seed), []
    for voice in sorted({spoken.voice for spoken in corpus.commands("test")}):
        mine = [u for u in corpus.commands("test") if u.voice == voice]
        wave, spans = spans_of([mine[n] for n in rng.integers(len(mine), size=count)], rng, 2.0)
        text = " ".join(text for text, _, _ in spans)
        pairs.append((text, transcribe(wave, model).text))
    return pairs


def _word_times(model, utterances):
    errors = []
    for spoken in utterances:
        found = transcribe(spoken.wave(), model, words=True)
        if found.text == spoken.text:
            for (_, *times), (_, *known) in zip(found.words, spoken.words, strict=True):
                errors += [abs(one - other) for one, other in zip(times, known, strict=False)]
    on = "words of the test commands that were written rightly: where each begins and ends"
    return scoring.figure("median_error_s", np.median, errors, on, counted="times")


def _other_sounds(model):
    """How often something is written where nobody says a word of the vocabulary."""
    clips = digit_figures.other_sounds()
    clips = [clip for clip in clips if clip.path.stem != "m24_0014"]  # it says "kitchen"
    known = set(whisper_commands.WORDS)
    digits = [u for u in corpus.digits("test") if not set(u.text.split()) & known]
    found = [transcribe(clip.wave(), model) for clip in clips + digits]
    wrong = [float(bool(one.text)) for one in found]
    sure = sum(bool(one.text) and one.segments[0]["probability"] >= 0.8 for one in found)
    on = "test recordings without commands: digits, other words, noises, silences"
    return scoring.figure("with_text_share", np.mean, wrong, on, counted="recordings",
                          with_text_at_80_percent_or_more=sure)  # fmt: skip


# --------------------------------------------------------------------------------- while training


def watched(utterances, count):
    """(log-mel, spans) of `count` single utterances and half as many pairs."""
    rng = np.random.default_rng(3)
    single = [spans_of([one], rng) for one in utterances[:count]]
    return [
        (audio.log_mel(wave, pad_to_seconds=whisper_commands.SECONDS), spans)
        for wave, spans in single + pairs_of(utterances, count // 2)
    ]


def seen(model, windows, batch=60):
    """Of watched windows: word error rate without and with times, errors of times in seconds."""
    wanted = [" ".join(text for text, _, _ in spans) for _, spans in windows]
    found = {False: [], True: []}
    for first in range(0, len(windows), batch):
        mel = torch.from_numpy(np.stack([mel for mel, _ in windows[first : first + batch]]))
        with torch.no_grad():
            memory = model.encode(mel)
        for timed in found:
            found[timed] += _written(model, memory, timed)
    errors = []
    for row, (_, spans) in zip(found[True], windows, strict=True):
        times = [(n - whisper_commands.FIRST_TIME) / 50 for n in row if n > whisper_commands.END]
        if len(times) == 2 * len(spans):
            true = [time for _, start_s, end_s in spans for time in (start_s, end_s)]
            errors += np.abs(np.array(times) - true).tolist()
    texts = {
        timed: [" ".join(_word(n) for n in row if n < whisper_commands.END) for row in rows]
        for timed, rows in found.items()
    }
    late = np.array(errors or [9.0])
    return {
        "wer": metrics.wer(wanted, texts[False]),
        "wer_timed": metrics.wer(wanted, texts[True]),
        "time_median": float(np.median(late)),
        "time_90": float(np.quantile(late, 0.9)),
        "with_times": len(errors) / sum(2 * len(spans) for _, spans in windows),
    }


def _word(number):
    return whisper_commands.WORDS[number]


def _written(model, memory, timed):
    """Greedy search over a batch -> rows of new tokens up to the end token."""
    w = whisper_commands
    prompt = [w.START, w.ENGLISH, w.TRANSCRIBE] + [w.NO_TIMES] * (not timed)
    rules = [generation_rules.Timestamps(end=w.END, no_timestamps=w.NO_TIMES)] if timed else []
    found = generate_from(model, memory, max_tokens=28, prompt=tuple(prompt), rules=rules,
                          search=search_named(1))  # fmt: skip
    rows = [row[len(prompt) :] for row in found.tokens.tolist()]
    return [row[: row.index(w.END)] if w.END in row else row for row in rows]
