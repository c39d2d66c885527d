"""From a recording to its text: windows, mel, model, tokens, words and when they were said.

input -> output: a wave (samples,) at 16 kHz or a sound file -> `Transcript`.
Special: three ways through a recording. One window: one pass. Longer, and the model writes times:
`long_form`. Longer, and it writes none (whisper-digits): windows cut at quiet places.

Notebook: 00_start_here, 09_whisper
"""

import functools
import os
import warnings

import numpy as np
import torch

from speechlib import audio
from speechlib.torch_models import generation, loading, long_form
from speechlib.torch_models.short_form import (
    SILENCE,
    Transcript,
    mel_for,
    one_window,
    prompt_for,
    window_cuts,
    window_seconds,
)
from speechlib.torch_models.whisper import Whisper
from speechlib.torch_models.word_timing import (
    alignment_weights,
    grouped,
    language_of,
    tidy,
    tokenizer_of,
)

DEFAULT = "whisper-digits"


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
        folder to load; None: "whisper-digits".
    words: also when each word was said, and how sure. timestamps: segments as the model marks them
        with its time tokens. language ("en"), task ("transcribe", "translate"): None, the language
        is heard. beams: see `generate`.
    A recording longer than the model's window: a model with time tokens goes on where its last
    segment ended (`long_form`: with temperatures, thresholds and the text so far as prompt, all as
    openai/whisper); one without is cut at quiet places, with a warning that says so.
    Silence gives an empty transcript. Raises ValueError for input that is not sound, and for an
    option that the model does not have.
    """
    wave, model = _wave(audio_or_path), ready(model)
    if not isinstance(model, Whisper):
        return _by_waveform(wave, model, beams, words, timestamps, language, task)
    whole = window_seconds(model) * audio.SAMPLE_RATE
    if timestamps and not _has_times(model):
        raise ValueError(
            "timestamps were asked for, but this model has no time tokens; leave them out "
            "(words=True, in the command line --words, gives the times of words)"
        )
    if len(wave) > whole and _has_times(model) and np.abs(wave).max() > SILENCE:
        return _long(wave, model, words, language, task, beams)
    cuts = window_cuts(wave, round(whole))
    if len(cuts) > 2:
        warnings.warn(
            f"the recording of {len(wave) / audio.SAMPLE_RATE:.1f} s is longer than the model's "
            f"window of {window_seconds(model):g} s and was cut into {len(cuts) - 1} windows at "
            "quiet places",
            stacklevel=2,
        )
    parts = [
        one_window(wave[start:end], start, model, words, timestamps, language, task, beams)
        for start, end in zip(cuts[:-1], cuts[1:], strict=True)
    ]
    return _joined(parts)


def _has_times(model):
    """Does the checkpoint name time tokens, and does its vocabulary hold them?"""
    silent = generation.settings_of(model).get("no_timestamps_token_id")
    return silent is not None and silent + 1 < model.config.vocabulary


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
        model = loading.load(model)
    if not isinstance(model, Whisper) and not _hears_waveforms(model):
        raise ValueError(
            "expected a Whisper model, or another that writes text (CTC, SpeechEncoderDecoder), or "
            f"the name or folder of one, got {type(model).__name__}"
        )
    return model


def _hears_waveforms(model):
    """A CTC model recognises; a SpeechEncoderDecoder encodes and decodes."""
    return hasattr(model, "recognise") or (hasattr(model, "encode") and hasattr(model, "decode"))


@functools.lru_cache(maxsize=1)
def _default_model():
    return loading.load(DEFAULT)


def _long(wave, model, words, language, task, beams):
    """Longer than a window, by a model that writes times."""
    window = round(window_seconds(model) * audio.SAMPLE_RATE)
    padded = np.concatenate([wave, np.zeros(window, wave.dtype)])
    mel = audio.log_mel(padded, mel_bins=model.config.mel_bins, pad_to_seconds=None)
    some = next(model.parameters())
    first = torch.from_numpy(mel[None, :, : model.config.mel_frames]).to(some)
    with torch.no_grad():
        prompt = prompt_for(model, model.encode(first), language, task, True)
    found = list(long_form.LongForm(model, mel, prompt, beams, words).segments())
    tokenizer, tokens = tokenizer_of(model), [t for *_, said in found for t in said]
    return Transcript(
        text=tokenizer.decode(tokens).strip(),
        tokens=tokens,
        words=[word for _, timed, _ in found for word in timed],
        segments=[segment for segment, *_ in found],
        language=language_of(prompt[0].tolist(), tokenizer),
    )


def _by_waveform(wave, model, beams, words, timestamps, language, task):
    """A model that hears the waveform itself: the whole recording in one pass."""
    from speechlib.torch_models import waveform_transcription

    refused = {"words": words, "timestamps": timestamps, "language": language}
    named = [name for name, value in refused.items() if value]
    if named or task != "transcribe":
        raise ValueError(
            f"{' and '.join(named) or f'task={task!r}'}: only Whisper has that; a "
            f"{type(model).__name__} writes text and nothing else"
        )
    text, tokens = waveform_transcription.written_down(model, wave, beams)
    segment = {"start_s": 0.0, "end_s": len(wave) / audio.SAMPLE_RATE, "text": text}
    return Transcript(text=text, tokens=tokens, segments=[segment])


def listened(audio_or_path, model=None) -> tuple[Transcript, np.ndarray]:
    """What was said, and where the decoder listened while it wrote each word.

    audio_or_path, model: as in `transcribe`, at most one window long (whisper-digits: 6 s).
    Returns (Transcript with words, rows): rows (words, frames) float32, one row of cross-attention
    a word, the mean over the alignment heads and over the word's tokens; each sums to 1 over the
    whole window, padding included. Raises ValueError for a recording longer than the window, and
    for a model that is no Whisper.
    """
    wave, model = _wave(audio_or_path), ready(model)
    if not isinstance(model, Whisper):
        raise ValueError(
            f"expected a Whisper model, or its name or folder, got {type(model).__name__}: where "
            "one listened is read off Whisper's alignment heads; `transcribe` takes this model"
        )
    seconds = window_seconds(model)
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
    prompt = prompt_for(model, memory, None, "transcribe", False)
    weights = alignment_weights(model, memory, prompt, transcript.tokens).mean(axis=0)
    words = tidy(grouped(model, prompt, transcript.tokens))
    # the row that finds a token is the one before it: there the decoder looks for what comes next
    rows = [weights[[prompt.shape[1] - 1 + p for p in place]].mean(axis=0) for _, place in words]
    return transcript, np.stack(rows)


def _joined(parts):
    """The windows of a recording -> one Transcript."""
    return Transcript(
        text=" ".join(part.text for part in parts if part.text),
        tokens=[token for part in parts for token in part.tokens],
        words=[word for part in parts for word in part.words],
        segments=[segment for part in parts for segment in part.segments],
        language=next((part.language for part in parts if part.language), None),
    )
