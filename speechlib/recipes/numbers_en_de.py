"""numbers-en-de: hears "forty-two", writes "zweiundvierzig".

input -> output: recordings of English numbers -> a SpeechEncoderDecoder of WavLM and Speech2Text2
in a checkpoint folder.
Special: one block of the decoder is enough, so that there is a single cross-attention to look at.
While it learns, two aids that leave no trace in the checkpoint: a linear layer names the word that
is said in each frame, and the cross-attention is told where the word of a piece is. Without the
second, nothing would ask for one word at a time: ones and tens have different names, so that a look
at the whole number at once is enough to translate it.

Notebook: 16_speech_to_text_2, 17_speech_encoder_decoder
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import speechlib as sl
from speechlib import corpus, paths, tokenizers, training
from speechlib.configs import BlockConfig, Speech2Text2Config
from speechlib.corpus import grammar, waveforms
from speechlib.recipes import crossing, german_pieces, scoring, wavlm_base
from speechlib.recipes.number_batches import NAMES, Numbers, batches, spoken_numbers
from speechlib.torch_models.loading import write_folder
from speechlib.torch_models.speech_encoder_decoder import SpeechEncoderDecoder
from speechlib.torch_models.speech_to_text_2 import Speech2Text2
from speechlib.trace import trace

NAME = "numbers-en-de"
MAX_TOKENS = 6  # three pieces and the end, and room to go wrong
DEFAULTS = {"steps": 2100, "batch": 16, "rate": 1.5e-3, "decay": 0.4, "start": wavlm_base.START}
TAKES = ("data", "start")
WEIGHTS = "decoder.blocks.*.cross_attention.weights"


def config() -> Speech2Text2Config:
    """One decoder block of width 128 with four heads, and a table of 32 places."""
    block = BlockConfig(
        width=128,
        heads=4,
        feed_forward=512,
        activation="relu",
        dropout=0.1,
        norm_first=False,
        cross_attention=True,
        attention="eager",  # short texts: faster to train than the fused kernel
    )
    return Speech2Text2Config(
        decoder=block,
        decoder_layers=1,
        vocabulary=len(german_pieces.vocabulary()),
        positions=32,
        init_std=wavlm_base.INIT_STD,
        pad=german_pieces.PAD,
        start=german_pieces.END,
        end=german_pieces.END,
    )


def fresh(start=None) -> SpeechEncoderDecoder:
    """The model to train; start: a checkpoint whose listener it begins with, None: random."""
    return SpeechEncoderDecoder(wavlm_base.listener(start, dropout=0.0), Speech2Text2(config()))


class WithAids(nn.Module):
    """The model and, only while it learns, what helps it to listen in the right place."""

    def __init__(self, model, reader=0.5, guide=0.2):
        """reader, guide: shares of the two further losses; 0: without."""
        super().__init__()
        self.model, self.share, self.guide = model, reader, guide
        self.reader = nn.Linear(model.encoder.config.width, 1 + len(NAMES))

    def loss(self, waveform, labels, said, places):
        """As `SpeechEncoderDecoder.loss`, plus the reader's (said: (batch, frames) a name each),
        plus how little of the cross-attention lies in the word of a piece (places: (batch, tokens,
        frames) bool; a token without a place is not asked)."""
        model, c = self.model, self.model.config
        memory, _ = model.encode(waveform)
        tokens = tokenizers.shift_tokens_right(labels, c.pad, c.start)
        with trace(model, WEIGHTS) as seen:
            logits = model.decode(tokens, memory)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        if self.share:
            heard = F.cross_entropy(self.reader(memory).flatten(0, 1), said.flatten())
            loss = loss + self.share * heard
        if self.guide and places.any():
            weights = torch.stack([each.mean(dim=1) for each in seen.values()]).mean(dim=0)
            inside = (weights * places).sum(dim=-1)[places.any(dim=-1)]
            loss = loss - self.guide * inside.clamp(min=1e-4).log().mean()
        return loss


def disturbance(step, gentle_from):
    """How the waves of a step are disturbed: gently while the rate decays, as a microphone at home
    would; with long silences at both ends in every sixth step (short ones save time)."""
    how = waveforms.GENTLE if step >= gentle_from else waveforms.Disturbance()
    return replace(how, pad_s=(0.0, 0.8 if step % 6 == 0 else 0.1))


def rights(model, recordings, batch=32) -> list[bool]:
    """Which of (wave, number) are written without a mistake, the shortest first; neighbours in
    length are heard together."""
    recordings, found = sorted(recordings, key=lambda pair: len(pair[0])), []
    for first in range(0, len(recordings), batch):
        waves, numbers = zip(*recordings[first : first + batch], strict=True)
        waveform, _ = waveforms.padded(waves)
        tokens = sl.generate(model, waveform, max_tokens=MAX_TOKENS, rules=[]).tokens
        for row, number in zip(tokens[:, 1:].tolist(), numbers, strict=True):
            wanted = german_pieces.token_ids(number)
            found.append(row[: len(wanted)] == wanted)
    return found


def run(args) -> int:
    """`python -m speechlib train numbers-en-de`: trains, watches, writes the checkpoint."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    folders = args.data or [paths.data_folder() / "numbers"]
    numbers = Numbers(spoken_numbers(folders, "train"))
    watched = [(one.wave(), one.number) for one in spoken_numbers(folders, "valid")]
    watched = watched[:: max(1, len(watched) // 200)]
    model = WithAids(fresh(args.start))
    plan = training.Plan.of(args)
    batch_at = batches(
        numbers, args.batch, args.seed, model.model.encoder.output_lengths,
        lambda step: disturbance(step, plan.decay_from),
    )  # fmt: skip
    training.train(
        model, batch_at, plan, args.out,
        evaluate=lambda m: {"valid wrong": 1 - float(np.mean(rights(m.model, watched)))},
    )  # fmt: skip
    write_checkpoint(model.model, Path(args.out) / NAME)
    return 0


def write_checkpoint(model, folder):
    """The folder in Hugging Face's format: weights (float16), configs and tokenizer."""
    folder = Path(folder)
    write_folder(model, folder, dtype="float16")
    german_pieces.write_tokenizer(folder)
    wavlm_base.write_preprocessor(folder)
    generation = {
        "bos_token_id": 0,
        "pad_token_id": german_pieces.PAD,
        "eos_token_id": german_pieces.END,
        "decoder_start_token_id": german_pieces.END,
        "max_length": 16,
    }
    paths.write_json(folder / "generation_config.json", generation)


# -------------------------------------------------------------------------------------- measuring


def measure(model, args=None) -> dict:
    """The figures of the card, on the bundled splits; `on_more_voices` where args.data is given."""
    test, folders = corpus.numbers("test"), getattr(args, "data", None)
    more = {"more_voices": on_more_voices(model, folders)} if folders else {}
    return more | {
        "test": on_split(model, test),
        "valid": on_split(model, corpus.numbers("valid"), picture=False),
        "crossing": on_crossing(model, test),
        "flax": on_flax(model, test),
    }


def on_split(model, utterances, picture=True):
    """Share of numbers written without a mistake, each recording by itself."""
    found = [sl.transcribe(one.wave(), model).text for one in utterances]
    voices, split = len({one.voice for one in utterances}), utterances[0].split
    wanted = [one.translation for one in utterances]
    pairs = [(_in_pieces(one), _in_pieces(other)) for one, other in zip(wanted, found, strict=True)]
    more = {"confusion": scoring.word_confusion(pairs, german_pieces.known())} if picture else {}
    return scoring.accuracy_figure(
        wanted,
        found,
        f"{voices} synthetic voices of the corpus' {split} split, one number at a time",
        labels=[grammar.german(number) for number in range(100)],
        name="exact_match", picture=False, **more,
    )  # fmt: skip


def on_more_voices(model, folders):
    """The same on the test split of a larger set; its silences are cut short."""
    recordings = spoken_numbers(folders, "test")
    return scoring.figure(
        "exact_match", np.mean, rights(model, [(one.wave(), one.number) for one in recordings]),
        f"{len({one.voice for one in recordings})} test voices of `corpus build --set numbers "
        "--takes 8 --everyone`, some of the bundled ones among them; silences cut short",
        counted="recordings",
    )  # fmt: skip


def _in_pieces(text):
    number = german_pieces.number_of(text)
    return text if number is None else " ".join(german_pieces.pieces(number))


def on_crossing(model, utterances):
    """Share of the numbers 21 to 99, tens left out, in which the ones are looked at later."""

    def share(items):
        return sum(item["crosses"] for item in items) / len(items)

    torch.manual_seed(0)
    untrained = fresh().eval()
    untrained.checkpoint = model.checkpoint  # how a wave is made ready
    found = crossing.crossing(model, utterances)
    return scoring.figure(
        "crossing_share", share, found,
        "numbers with tens and ones, 21 to 99, of the test split: the mean time that the "
        "cross-attention looks at is later for the ones than for the tens",
        baseline={"random weights": share(crossing.crossing(untrained, utterances))},
        counted="recordings",
        weight_in_the_right_word_share=sum(i["inside"] for i in found) / len(found),
    )  # fmt: skip


def on_flax(model, utterances):
    """Do the same weights in Flax write the same? All recordings as one batch, compiled once."""
    waveform, _ = waveforms.padded([one.wave() for one in utterances])
    twin = sl.load(model.checkpoint.folder, framework="flax")
    ours, theirs = (
        sl.generate(one, waveform, max_tokens=MAX_TOKENS).tokens for one in (model, twin)
    )
    same = (np.asarray(ours) == np.asarray(theirs)).all(axis=1)
    return {
        "on": "the test split as one batch: tokens that PyTorch and Flax write alike",
        "recordings": len(same),
        "same_tokens_share": float(same.mean()),
    }
