"""From a recording to its text: windows, mel, model, tokens, words and when they were said.

input -> output: a wave (samples,) at 16 kHz or a sound file -> `Transcript`.
Special: word times come from where the decoder looked while it wrote (cross-attention, aligned by
dynamic time warping; Radford et al. 2022 released this recipe with their code).

Notebook: 00_start_here, 09_whisper
"""

import functools
import math
import os
import warnings
from dataclasses import dataclass, field

import numpy as np
import torch

from speechlib import alignment, audio, tokenizers
from speechlib.torch_models import generation, loading
from speechlib.torch_models.whisper import Whisper
from speechlib.trace import trace

DEFAULT = "whisper-digits"
MEL_FRAMES_A_SECOND = audio.SAMPLE_RATE // audio.HOP
SAMPLES_A_FRAME = 2 * audio.HOP  # one encoder frame stands for 20 ms
SILENCE = 1e-4  # largest sample of a wave in which nobody can have said anything: -80 dB


@dataclass(frozen=True)
class Transcript:
    """What was said. words: (word, start_s, end_s, probability), filled by `words=True`;
    segments: one dict a window with start_s, end_s, text and probability."""

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    words: list[tuple[str, float, float, float]] = field(default_factory=list)
    segments: list[dict] = field(default_factory=list)
    language: str | None = None


def transcribe(
    audio_or_path,
    model=None,
    *,
    words=False,
    timestamps=False,
    language=None,
    task="transcribe",
    beams=1,
) -> Transcript:
    """Writes down what is said.

    audio_or_path: (samples,) at 16 kHz, or a sound file. model: from `sl.load`, or a name or
    folder to load; None: "whisper-digits". words: also when each word was said, and how sure.
    A recording longer than the model's window is cut at quiet places, with a warning that says so.
    Silence gives an empty transcript. Raises ValueError for input that is not sound, and for an
    option that the model or this release does not have.
    """
    wave, model = _wave(audio_or_path), ready(model)
    seconds = model.config.mel_frames / MEL_FRAMES_A_SECOND
    cuts = window_cuts(wave, round(seconds * audio.SAMPLE_RATE))
    if len(cuts) > 2:
        warnings.warn(
            f"the recording of {len(wave) / audio.SAMPLE_RATE:.1f} s is longer than the model's "
            f"window of {seconds:g} s and was cut into {len(cuts) - 1} windows at quiet places",
            stacklevel=2,
        )
    parts = [
        _window(wave[start:end], start, model, words, language, task)
        for start, end in zip(cuts[:-1], cuts[1:], strict=True)
    ]
    return _joined(parts)


def _wave(audio_or_path):
    """A sound file, or a wave already in memory -> (samples,) float32 at 16 kHz."""
    if isinstance(audio_or_path, str | os.PathLike):
        return audio.load(audio_or_path)
    return audio.as_wave(audio_or_path)


def ready(model):
    """A model, or the name or folder of one, or None for whisper-digits -> the model.

    Raises ValueError for anything else.
    """
    if model is None:
        return _default_model()
    if isinstance(model, str | os.PathLike):
        return loading.load(model)
    if not isinstance(model, Whisper):
        raise ValueError(
            f"expected a Whisper model, or the name or folder of one, got {type(model).__name__}"
        )
    return model


@functools.lru_cache(maxsize=1)
def _default_model():
    return loading.load(DEFAULT)


def tokenizer_of(model):
    """The tokenizer from the folder that the model came from."""
    if not hasattr(model, "tokenizer"):
        if not hasattr(model, "checkpoint"):
            raise ValueError("this model came from no checkpoint, so it has no tokenizer")
        model.tokenizer = tokenizers.load_tokenizer(model.checkpoint.folder)
    return model.tokenizer


def window_cuts(wave, window):
    """Places (samples) that cut a wave into windows: [0, ..., len(wave)].

    The pieces are about equally long, so that no scrap of a word is left over at the end; each
    cut is moved to the quietest 0.2 s within a sixth of a window.
    """
    cuts = [0]
    while (left := len(wave) - cuts[-1]) > window:
        pieces = math.ceil(left / (0.9 * window))  # a tenth of a window is room to move
        low = max(left - (pieces - 1) * window, left // pieces - window // 6)
        high = min(window, left // pieces + window // 6)
        near = np.square(wave[cuts[-1] + low : cuts[-1] + high])
        quiet = min(3200, len(near))
        energy = np.convolve(near, np.ones(quiet), mode="valid")
        cuts.append(cuts[-1] + low + int(energy.argmin()) + quiet // 2)
    return [*cuts, len(wave)]


def _window(wave, start, model, words, language, task):
    """One window (samples,) that begins at sample `start` -> a Transcript on the whole clock."""
    start_s, end_s = start / audio.SAMPLE_RATE, (start + len(wave)) / audio.SAMPLE_RATE
    if np.abs(wave).max() <= SILENCE:
        return Transcript(segments=[_segment(start_s, end_s, "", 1.0)])
    with torch.no_grad():
        memory = model.encode(mel_for(model, wave))
    prompt = _prompt(model, memory, language, task)
    limit = model.config.slots - prompt.shape[1]
    found = generation.generate_from(model, memory, max_tokens=limit, prompt=prompt)
    tokenizer = tokenizer_of(model)
    tokens = found.tokens[0, prompt.shape[1] :].tolist()
    text = tokenizer.decode(tokens).strip()
    timed = []
    if words and text:
        frames = -(-len(wave) // SAMPLES_A_FRAME)
        times = word_times(model, memory, prompt, tokens, frames)
        timed = [(w, start_s + a, start_s + b, p) for w, a, b, p in _sure(times, found.steps[0])]
    return Transcript(
        text=text,
        tokens=[token for token in tokens if token not in tokenizer.special.values()],
        words=timed,
        segments=[_segment(start_s, end_s, text, found.steps[0].mean().exp().item())],
        language=_language(prompt[0].tolist(), tokenizer),
    )


def _prompt(model, memory, language, task):
    """(1, tokens); a checkpoint that knows one language only may be asked for that one."""
    if language is not None and not generation.settings_of(model).get("lang_to_id"):
        own = generation.own_prompt(model, memory)
        spoken = _language(own[0].tolist(), tokenizer_of(model))
        language = None if language in (spoken, f"<|{spoken}|>") else language
    asked = None if task == "transcribe" and language is None else task
    return generation.own_prompt(model, memory, language, asked)


def mel_for(model, wave):
    """A wave (samples,) -> (1, mel bins, mel frames) as this model wants it, on its device."""
    c, some = model.config, next(model.parameters())
    seconds = c.mel_frames / MEL_FRAMES_A_SECOND
    mel = audio.log_mel(wave, mel_bins=c.mel_bins, pad_to_seconds=seconds)
    return torch.from_numpy(mel)[None].to(some.device, some.dtype)


def word_times(model, memory, prompt, tokens, frames):
    """When each word was said -> list of (word, places of its tokens, start_s, end_s).

    memory (1, frames, width), prompt (1, tokens), tokens: list of ids after the prompt; frames:
    encoder frames of real audio.
    """
    weights = alignment_weights(model, memory, prompt, tokens)
    grouped = _grouped(model, prompt, tokens)
    places = [place for _, place in grouped]
    spans = alignment.word_times(weights, places, prompt.shape[1], frames)
    timed = [(word, place, *span) for (word, place), span in zip(grouped, spans, strict=True)]
    return _tidy(timed)


def listened(audio_or_path, model=None) -> tuple[Transcript, np.ndarray]:
    """What was said, and where the decoder listened while it wrote each word.

    audio_or_path, model: as in `transcribe`, at most one window long (whisper-digits: 6 s).
    Returns (Transcript with words, rows): rows (words, frames) float32, one row of cross-attention
    a word, the mean over the alignment heads and over the word's tokens; each sums to 1 over the
    whole window, padding included. Raises ValueError for a recording longer than the window.
    """
    wave, model = _wave(audio_or_path), ready(model)
    seconds = model.config.mel_frames / MEL_FRAMES_A_SECOND
    if len(wave) > seconds * audio.SAMPLE_RATE:
        raise ValueError(
            f"expected at most one window of {seconds:g} s, got {len(wave) / audio.SAMPLE_RATE:.1f}"
            f" s; cut it first: wave[:{round(seconds * audio.SAMPLE_RATE)}]"
        )
    transcript = transcribe(wave, model, words=True)
    if not transcript.words:
        return transcript, np.zeros((0, model.config.frames), np.float32)
    with torch.no_grad():
        memory = model.encode(mel_for(model, wave))
    prompt = generation.own_prompt(model, memory)
    weights = alignment_weights(model, memory, prompt, transcript.tokens).mean(axis=0)
    words = _tidy(_grouped(model, prompt, transcript.tokens))
    # the row that finds a token is the one before it: there the decoder looks for what comes next
    rows = [weights[[prompt.shape[1] - 1 + p for p in place]].mean(axis=0) for _, place in words]
    return transcript, np.stack(rows)


def alignment_weights(model, memory, prompt, tokens):
    """Cross-attention of the alignment heads over prompt and tokens -> (head, token, frame)."""
    maps = cross_attention(model, memory, prompt, tokens)
    return np.stack([maps[layer][head] for layer, head in alignment_heads(model)])


@torch.no_grad()
def cross_attention(model, memory, prompt, tokens):
    """Where the decoder looks while it is told prompt and tokens: a list by layer of
    (head, token, frame). memory (1, frames, width), prompt (1, tokens), tokens: list of ids."""
    said = torch.cat([prompt, torch.tensor([tokens], device=prompt.device)], dim=1)
    with trace(model, "decoder.*.cross_attention.weights") as seen:
        model.decode(said[:, : model.config.slots], memory)
    return [weights[0].float().cpu().numpy() for weights in seen.values()]


def _grouped(model, prompt, tokens):
    """Tokens after the prompt -> list of (word, places of its tokens)."""
    tokenizer = tokenizer_of(model)
    spaces = _language(prompt[0].tolist(), tokenizer) not in tokenizers.WITHOUT_SPACES
    return tokenizer.words(tokens, spaces)


def _tidy(words):
    """(word, ...) with punctuation joined to its word, without what is only space."""
    words = alignment.attach_punctuation(words)
    return [(word.strip(), *rest) for word, *rest in words if word.strip()]


def alignment_heads(model):
    """(layer, head) pairs of the decoder whose cross-attention follows the sound: the
    checkpoint's own list, else every head of the upper half of the layers."""
    named = generation.settings_of(model).get("alignment_heads")
    if named:
        return [(int(layer), int(head)) for layer, head in named]
    layers, heads = model.config.decoder_layers, model.config.decoder.heads
    return [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]


def _sure(times, steps):
    """Adds each word's probability: the geometric mean over its tokens."""
    for word, places, start_s, end_s in times:
        yield word, start_s, end_s, float(steps[places].mean().exp())


def _segment(start_s, end_s, text, probability):
    return {"start_s": start_s, "end_s": end_s, "text": text, "probability": probability}


def _language(prompt, tokenizer):
    """The two-letter language among the prompt's special tokens, or None."""
    names = {number: name for name, number in tokenizer.special.items()}
    spoken = [names.get(token, "").strip("<|>") for token in prompt[1:2]]
    return spoken[0] if spoken and 2 <= len(spoken[0]) <= 3 else None


def _joined(parts):
    """The windows of a recording -> one Transcript."""
    return Transcript(
        text=" ".join(part.text for part in parts if part.text),
        tokens=[token for part in parts for token in part.tokens],
        words=[word for part in parts for word in part.words],
        segments=[segment for part in parts for segment in part.segments],
        language=next((part.language for part in parts if part.language), None),
    )
