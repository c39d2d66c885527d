"""A recording in one window: mel, model, tokens, words and segments; and where to cut longer ones.

input -> output: a wave (samples,) at most one window long -> `Transcript`.
Special: one pass, greedy or beams, as transformers has it; what the model does not write stays
unwritten. Rewriting by temperature is for long recordings (`long_form`).

Notebook: 00_start_here, 09_whisper
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from speechlib import audio, generation_rules
from speechlib.torch_models import generation, long_form
from speechlib.torch_models.word_timing import language_of, tokenizer_of, word_times

MEL_FRAMES_A_SECOND = audio.SAMPLE_RATE // audio.HOP
SAMPLES_A_FRAME = 2 * audio.HOP  # one encoder frame stands for 20 ms
SILENCE = 1e-4  # largest sample of a wave in which nobody can have said anything: -80 dB


@dataclass(frozen=True)
class Transcript:
    """What was said. words: (word, start_s, end_s, probability), filled by `words=True`;
    segments: dicts with start_s, end_s, text and probability (of its tokens, geometric mean): one
    a window, or with times one for each stretch that the model itself marked."""

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    words: list[tuple[str, float, float, float]] = field(default_factory=list)
    segments: list[dict] = field(default_factory=list)
    language: str | None = None


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


def one_window(wave, start, model, words, timestamps, language, task, beams):
    """One window (samples,) that begins at sample `start` -> a Transcript on the whole clock."""
    start_s, end_s = start / audio.SAMPLE_RATE, (start + len(wave)) / audio.SAMPLE_RATE
    if np.abs(wave).max() <= SILENCE:
        return Transcript(segments=[_segment(start_s, end_s, "", 1.0)])
    with torch.no_grad():
        memory = model.encode(mel_for(model, wave))
    prompt = prompt_for(model, memory, language, task, timestamps)
    found = generation.generate_from(
        model,
        memory,
        max_tokens=model.config.slots - prompt.shape[1],
        prompt=prompt,
        rules=generation_rules.rules_of(generation.settings_of(model), timestamps),
        search=generation.search_named(beams),
    )
    tokenizer, steps = tokenizer_of(model), found.steps[0]
    tokens = found.tokens[0, prompt.shape[1] :].tolist()
    segments = [_segment(start_s, end_s, tokenizer.decode(tokens).strip(), _mean(steps))]
    if timestamps:
        segments = _marked_segments(model, tokens, steps, len(wave))
    # what is spoken: no special token and no time
    kept = [n for n, t in enumerate(tokens) if _is_spoken(model, t)]
    tokens, steps = [tokens[n] for n in kept], steps[kept]
    timed = []
    if words and tokens:
        frames = -(-len(wave) // SAMPLES_A_FRAME)
        plain = prompt_for(model, memory, language, task, False)
        times = word_times(model, memory, plain, tokens, frames)
        timed = [(w, start_s + a, start_s + b, _mean(steps[p])) for w, p, a, b in times]
    return Transcript(
        text=tokenizer.decode(tokens).strip(),
        tokens=tokens,
        words=timed,
        segments=segments,
        language=language_of(prompt[0].tolist(), tokenizer),
    )


def _is_spoken(model, token):
    silent = generation.settings_of(model).get("no_timestamps_token_id")
    is_time = silent is not None and token > silent
    return not is_time and token not in tokenizer_of(model).special.values()


def _marked_segments(model, tokens, steps, samples):
    """The tokens of one window with times -> a segment for each stretch between two times."""
    tokenizer = tokenizer_of(model)
    first_time = generation.settings_of(model)["no_timestamps_token_id"] + 1
    end, _ = generation.end_and_pad(model, "cpu")
    count = next((n for n, token in enumerate(tokens) if token in end.tolist()), len(tokens))
    size = samples / audio.HOP  # mel frames
    pieces, _ = long_form.segments_of(tokens[:count], first_time, size)
    at = sum(len(piece) for *_, piece in pieces)
    if at < count:  # the last stretch was opened and never closed: it lasts to the end
        opened = tokens[at] - first_time
        pieces.append((opened, max(opened, size / 2), tokens[at:count]))
    segments, at = [], 0
    for start, stop, piece in pieces:
        spoken = [n for n, token in enumerate(piece) if token < first_time]
        text = tokenizer.decode([piece[n] for n in spoken]).strip()
        # how sure it is of the words: many times are about as likely as the one it chose
        sure, at = steps[at : at + len(piece)][spoken], at + len(piece)
        if piece and piece[0] >= first_time:
            # of a lone segment `segments_of` drops it, as openai/whisper; transformers keeps it
            start = piece[0] - first_time
        if text:
            start_s, end_s = start * long_form.FRAME_S, stop * long_form.FRAME_S
            segments.append(_segment(start_s, end_s, text, _mean(sure)))
    return segments


def prompt_for(model, memory, language, task, timestamps=None):
    """(1, tokens); a checkpoint that knows one language only may be asked for that one."""
    settings = generation.settings_of(model)
    if language is not None and not settings.get("lang_to_id"):
        own = generation.own_prompt(model, memory)
        spoken = language_of(own[0].tolist(), tokenizer_of(model))
        language = None if str(language).lower() in (spoken, f"<|{spoken}|>") else language
    # naming a task overrules what the checkpoint forces: its language, say
    forced = task == "transcribe" and language is None and settings.get("forced_decoder_ids")
    return generation.own_prompt(model, memory, language, None if forced else task, timestamps)


def mel_for(model, wave):
    """A wave (samples,) -> (1, mel bins, mel frames) as this model wants it, on its device."""
    mel = audio.log_mel(wave, mel_bins=model.config.mel_bins, pad_to_seconds=window_seconds(model))
    return torch.from_numpy(mel)[None].to(next(model.parameters()))


def window_seconds(model):
    return model.config.mel_frames / MEL_FRAMES_A_SECOND


def _mean(steps):
    """The geometric mean of probabilities, from their logarithms."""
    return float(steps.mean().exp())


def _segment(start_s, end_s, text, probability):
    return {"start_s": start_s, "end_s": end_s, "text": text, "probability": probability}
