"""An utterance of the corpus on one time axis: wave, log-mel, words, phones, who speaks.

Utterance -> lanes of labelled stretches, a table of words, a picture with alt text. Of a
conversation each voice has lanes of its own and a letter, in order of first turns; while two speak
at once, a word belongs to the turn in which it carries on from the word before.
"""

from dataclasses import dataclass

import numpy as np

from speechlib import audio
from speechlib.viz import palette
from speechlib.viz.display import Drawn, describe, new_axes
from speechlib.viz.plots import label, plain
from speechlib.viz.time_axis import WHISPER_MEL

SLACK = 0.011  # seconds: turns are rounded to 10 ms, their words to 1 ms
INCHES_A_LETTER = 0.009  # for each point of size
COLUMNS = 700  # of a mel at most: longer sounds share a column among a few frames
SHADES = 16  # as many as one can tell apart here; more would double the bytes


@dataclass(frozen=True)
class Lane:
    """One row of the picture. kind: "turn", "word" or "phone"; voice: a letter, "" where there is
    one voice only; spans: (label, start_s, end_s) in order."""

    kind: str
    voice: str
    spans: tuple[tuple[str, float, float], ...]

    @property
    def name(self):
        kinds = {"turn": "speaks", "word": "words", "phone": "phones"}
        return f"{self.voice} {kinds[self.kind]}".strip()


def voice_letters(utterance):
    """Letter -> voice: A, B, … of a conversation; {"": voice} of one voice, {} of none."""
    turns = getattr(utterance, "turns", ())
    if not turns:
        voice = getattr(utterance, "voice", "")
        return {"": voice} if voice else {}
    voices = dict.fromkeys(voice for voice, _, _ in turns)
    return {chr(ord("A") + i): voice for i, voice in enumerate(voices)}


def word_rows(utterance):
    """[(voice letter, word, start_s, end_s, its phones in one text)], in order of time."""
    letters, owners = _letters_of_words(utterance)
    holder = holders(utterance.phones, utterance.words)
    return [(letters[owner], *word, " ".join(
        phone for (phone, _, _), held in zip(utterance.phones, holder, strict=True) if held == i))
        for i, (word, owner) in enumerate(zip(utterance.words, owners, strict=True))]


def lanes(utterance):
    """[Lane]: words and phones; of a conversation, for each voice its turns, words and phones."""
    letters, owners = _letters_of_words(utterance)
    holder = holders(utterance.phones, utterance.words)
    turns = getattr(utterance, "turns", ())
    found = []
    for letter in dict.fromkeys(letters):
        mine = [letters[owner] == letter for owner in owners]
        said = [" ".join(w for (w, _, _), owner in zip(utterance.words, owners, strict=True)
                         if owner == t) for t in range(len(turns))]
        found += [
            Lane("turn", letter, tuple((said[t], *turn[1:]) for t, turn in enumerate(turns)
                                       if letters[t] == letter)),
            Lane("word", letter, tuple(
                w for w, is_mine in zip(utterance.words, mine, strict=True) if is_mine)),
            Lane("phone", letter, tuple(
                p for p, i in zip(utterance.phones, holder, strict=True) if not mine or mine[i])),
        ]
    return [lane for lane in found if lane.spans]


def holders(spans, into):
    """For each of the spans, the index of the one in `into` that it is a part of.

    Both: (label, start_s, end_s) in order of their starts. Where two could hold a span, it is the
    one whose last part ended where this one starts. 0 where `into` is empty.
    """
    ended, found = [start for _, start, _ in into], []
    for _, start, end in spans:
        inside = [i for i, (_, from_s, to_s) in enumerate(into)
                  if from_s - SLACK <= start and end <= to_s + SLACK]
        best = min(inside or range(len(into)), key=lambda i: abs(ended[i] - start), default=0)
        found.append(best)
        if into:
            ended[best] = end
    return found


def in_words(utterance):
    """What is said by whom and when, as sentences: the alt text of every view."""
    names = [f"{letter or 'voice'}: {voice}" for letter, voice in voice_letters(utterance).items()]
    said = [f"{voice + ': ' if voice else ''}“{word}” {start:.2f} to {end:.2f} s"
            for voice, word, start, end, _ in word_rows(utterance)]
    return (f"{utterance.duration_s:.2f} seconds of sound"
            + (f" ({', '.join(names)})" if names else "") + ", on one time axis: waveform, "
            "log-mel spectrogram" + (", words and phones. " + "; ".join(said) if said else
                                     "; no words in it") + ".")


def heading(utterance):
    """The text, and of a number its German."""
    text = utterance.text or " ".join(word for word, _, _ in utterance.words) or "no words"
    german = getattr(utterance, "translation", "")
    return f"{text} (German: {german})" if german else text


def shortened(text, most):
    """The text, cut to so many letters."""
    return text if len(text) <= most else text[:max(most - 1, 0)] + "…"


def mel_shades(wave, columns=COLUMNS):
    """Log-mel for looking at: ((mel bins, columns) of 0..SHADES - 1, high bins first; time in s of
    its right edge). Its left edge is the first frame's, half a hop before 0."""
    mel = audio.log_mel(wave, pad_to_seconds=None)[::-1]
    share = -(-mel.shape[1] // columns)
    mel = np.pad(mel, ((0, 0), (0, -mel.shape[1] % share)), mode="edge")
    end_s = float(WHISPER_MEL.edges(mel.shape[1])[-1])
    mel = mel.reshape(len(mel), -1, share).mean(2)
    shades = (mel - mel.min()) / max(mel.max() - mel.min(), 1e-12)
    return np.round(shades * (SHADES - 1)).astype(np.uint8), end_s


def plot_utterance(utterance, ax=None):
    """Wave, log-mel and lanes on one time axis. ax: None, or three axes from top to bottom."""
    rows = lanes(utterance)
    height = 0.28 * max(len(rows), 1)
    axes, own = new_axes(ax, (8, 2.7 + height), rows=(0.8, 1.2, height))
    wave = utterance.wave()
    seconds = len(wave) / audio.SAMPLE_RATE
    artists = list(axes[0].plot(np.arange(len(wave)) / audio.SAMPLE_RATE, wave, linewidth=0.6,
                                color=palette.OKABE_ITO[0]))
    shades, end_s = mel_shades(wave, columns=COLUMNS // 2)
    artists.append(axes[1].imshow(
        shades, aspect="auto", interpolation="nearest", cmap=palette.SEQUENTIAL,
        extent=(-audio.HOP / audio.SAMPLE_RATE / 2, end_s, 0, len(shades))))
    for i, lane in enumerate(rows):
        artists += _boxes(axes[2], lane, len(rows) - 1 - i, 7 / seconds)
    title = heading(utterance)
    label(axes[0], shortened(title, 80), "", "wave")
    label(axes[1], "", "", "mel bin")
    label(axes[2], "", "time (seconds)", "")
    axes[2].set_yticks(range(len(rows)), [plain(lane.name) for lane in rows[::-1]])
    axes[2].set_ylim(-0.6, max(len(rows), 1) - 0.4)
    for one in axes:
        one.set_xlim(0, seconds)
    for one in axes[:2]:
        one.tick_params(labelbottom=False)
    describe(axes[0], in_words(utterance))
    return Drawn(artists, axes, own)


def _boxes(ax, lane, y, inches_a_second):
    """The stretches of a lane with their labels, where these fit in."""
    artists = [ax.broken_barh([(start, end - start) for _, start, end in lane.spans],
                              (y - 0.42, 0.84), facecolor="white", edgecolor=palette.INK,
                              linewidth=0.8)]
    for text, start, end in lane.spans:
        room = (end - start) * inches_a_second / INCHES_A_LETTER  # letters times points
        size = min(9, int(room / max(len(text), 1)))
        if lane.kind == "turn" and size < 7:
            text, size = shortened(text, int(room / 7)), 7
        if size >= 6 and text:
            artists.append(ax.text((start + end) / 2, y, plain(text), ha="center", va="center",
                                   fontsize=size, color=palette.INK))
    return artists


def _letters_of_words(utterance):
    """(letter of each turn, turn of each word); where there are no turns, one turn for all."""
    turns = getattr(utterance, "turns", ())
    if not turns:
        return [""], [0] * len(utterance.words)
    letter = {voice: letter for letter, voice in voice_letters(utterance).items()}
    return [letter[voice] for voice, _, _ in turns], holders(utterance.words, turns)
