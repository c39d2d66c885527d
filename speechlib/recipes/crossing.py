"""Does the cross-attention turn round? "forty-two" is heard tens first, "zweiundvierzig" is written
ones first.

input -> output: a SpeechEncoderDecoder and a recording -> a row of weights for each piece written,
and the mean time that it looks at; of many recordings, how often the ones are looked at later.
Special: a row is that of the step which finds the piece, so the one before it; the mean is over
layers and heads, then each row is divided by its sum.

Notebook: 17_speech_encoder_decoder
"""

from dataclasses import dataclass

import numpy as np
import torch

from speechlib import tokenizers
from speechlib.audio import SAMPLE_RATE
from speechlib.recipes import german_pieces, wavlm_base
from speechlib.recipes.number_batches import frames_between
from speechlib.torch_models.waveform_transcription import normalised
from speechlib.trace import trace


@dataclass(frozen=True)
class Looked:
    """Where the decoder looked while it wrote a number."""

    pieces: list[str]  # "zwei@@", "und@@", "vierzig"
    rows: np.ndarray  # (pieces, frames), each sums to 1

    def times(self) -> np.ndarray:
        """(pieces,) seconds: the mean time that each piece looks at."""
        return self.rows @ wavlm_base.middles_s(self.rows.shape[1])


@torch.no_grad()
def looked(model, wave, number: int) -> Looked:
    """The model is told the German of `number`, so that only its look is asked."""
    labels = torch.tensor([german_pieces.token_ids(number)])
    tokens = tokenizers.shift_tokens_right(labels, model.config.pad, model.config.start)
    with trace(model, "decoder.blocks.*.cross_attention.weights") as seen:
        model(torch.from_numpy(normalised(model, wave))[None], tokens)
    rows = torch.stack([weights[0].mean(dim=0) for weights in seen.values()]).mean(dim=0)
    pieces = german_pieces.pieces(number)
    return Looked(pieces, rows[: len(pieces)].double().numpy())


def spans_of_pieces(spoken):
    """Word times of an utterance as German pieces: (("zwei@@", start_s, end_s), …), for
    `viz.plot_cross_attention(looked.rows, tokens=looked.pieces, spans=…)`."""
    pieces = german_pieces.pieces(german_pieces.number_of(spoken.translation))
    if len(spoken.words) == 1:
        return tuple((pieces[0], *span) for _, *span in spoken.words)
    (_, *tens), (_, *ones) = spoken.words
    return ((pieces[0], *ones), (pieces[2], *tens))


def crossing(model, utterances):
    """Of the numbers that turn round (21 to 99 without the tens), one dict each: does the look
    cross, how much of it lies inside the right English word (two frames more on either side)."""
    found = []
    for spoken in utterances:
        number = german_pieces.number_of(spoken.translation)
        if number not in german_pieces.CROSSING:
            continue
        look = looked(model, spoken.wave(), number)
        ones_s, _, tens_s = look.times()
        tens, ones = (_near(word, look.rows.shape[1]) for word in spoken.words)
        found.append(
            {
                "voice": spoken.voice,
                "number": number,
                "crosses": bool(ones_s > tens_s),
                "later_s": float(ones_s - tens_s),
                "inside": float(look.rows[2, tens].sum() + look.rows[0, ones].sum()) / 2,
            }
        )
    return found


def _near(word, frames, by=2):
    """The frames of a word (label, start_s, end_s), and `by` more on either side."""
    _, start_s, end_s = word
    inside = frames_between(start_s * SAMPLE_RATE, end_s * SAMPLE_RATE, frames)
    return slice(max(0, inside.start - by), inside.stop + by)
