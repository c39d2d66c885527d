"""Long recordings: one window after another; the next begins where the last whole segment ended.

Paper: Radford et al. 2022, section 4.5, "Strategies for reliable long-form transcription"; the
values and every decision are those of openai/whisper.
input -> output: log-mel of everything -> segments, each (start_s, end_s, text, ...).
Special: the model's own time tokens say where a segment ends. A text that repeats itself or that
the model does not believe is written again, by drawing at a higher and higher temperature.

Notebook: 09_whisper
"""

import zlib
from dataclasses import dataclass

import numpy as np
import torch

from speechlib import generation_rules
from speechlib.torch_models import generation, word_timing

FRAME_S = 0.02  # a time token's step, and an encoder frame: two mel frames
SEED = 0  # of all drawing: the same recording, the same text


@dataclass(frozen=True)
class Strategy:
    """When a text is written again, and what the model is told of what it wrote before.

    temperatures: tried in turn; the first is 0 (greedy or beams), the others draw.
    compression_ratio: above it a text repeats itself. log_prob: below it, the mean of its tokens,
    it is not believed. no_speech: above it, and not believed, a window is silence.
    condition: the text so far goes into the prompt, unless it was drawn above 0.5. This is
    openai/whisper's default; transformers leaves it out unless asked.
    """

    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    compression_ratio: float | None = 2.4
    log_prob: float | None = -1.0
    no_speech: float | None = 0.6
    condition: bool = True


@dataclass(frozen=True)
class Written:
    """The text of one window: tokens without the end token, their log-probabilities, and what it
    is judged by."""

    tokens: list[int]
    steps: list[float]
    text: str
    temperature: float
    log_prob: float  # mean; the end token counts as one more
    compression_ratio: float
    no_speech: float


class LongForm:
    """One recording on its way to a text.

    model: a Whisper with time tokens; mel: (mel bins, mel frames), a window of silence at its end;
    prompt: (1, tokens) without `no timestamps`.
    """

    def __init__(self, model, mel, prompt, beams=1, words=False, strategy=None):
        self.model, self.mel, self.prompt = model, mel, prompt
        self.beams, self.words = beams, words
        self.strategy = Strategy() if strategy is None else strategy
        self.tokenizer = word_timing.tokenizer_of(model)
        settings = generation.settings_of(model)
        self.rules = generation_rules.rules_of(settings, timestamps=True)
        self.no_times = settings["no_timestamps_token_id"]
        self.first_time = self.no_times + 1
        self.previous = _named(self.tokenizer, settings.get("prev_sot_token_id"), "<|startofprev|>")
        self.silence = _named(self.tokenizer, None, "<|nospeech|>", "<|nocaptions|>")
        self.said = []  # tokens so far, times included, that the next window is told

    def segments(self):
        """Yields (segment, its words, its text tokens) for all that was said."""
        window, seek = self.model.config.mel_frames, 0
        content = self.mel.shape[1] - window
        while seek < content:
            size = min(window, content - seek)
            part = np.pad(self.mel[:, seek : seek + size], ((0, 0), (0, window - size)))
            some = next(self.model.parameters())
            with torch.no_grad():
                memory = self.model.encode(torch.from_numpy(part)[None].to(some))
            written = self.write(memory)
            if self._is_silence(written):
                seek += size
                continue
            pieces, move = segments_of(written.tokens, self.first_time, size)
            yield from self._finished(pieces, written, memory, seek, size)
            if not self.strategy.condition or written.temperature > 0.5:
                self.said = []
            seek += move

    def write(self, memory):
        """The text of one window -> `Written`, by the first temperature whose text will do."""
        prompt, fall_back = self._told(), self.strategy
        no_speech = self._no_speech(memory, prompt)
        limit = min(self.model.config.slots // 2, self.model.config.slots - prompt.shape[1] + 1)
        for temperature in fall_back.temperatures:
            search = generation.search_named(
                beams=1 if temperature else self.beams, temperature=temperature, seed=SEED
            )
            found = generation.generate_from(
                self.model, memory, max_tokens=limit, prompt=prompt, rules=self.rules, search=search
            )
            written = self._judged(found, prompt.shape[1], temperature, no_speech)
            if self._will_do(written):
                break
        return written

    def _told(self):
        """The prompt of a window: what was said before, then the prompt of every window."""
        said = self.said[-(self.model.config.slots // 2 - 1) :]
        if not said or self.previous is None:
            return self.prompt
        said = torch.tensor([[self.previous, *said]], device=self.prompt.device)
        return torch.cat([said, self.prompt], dim=1)

    @torch.no_grad()
    def _no_speech(self, memory, prompt):
        """How likely it is, at the start token, that nobody speaks: 0 to 1."""
        if self.silence is None:
            return 0.0
        start = prompt.shape[1] - self.prompt.shape[1] + 1
        logits = self.model.decode(prompt[:, :start], memory)[0, -1].float()
        return logits.softmax(dim=-1)[self.silence].item()

    def _judged(self, found, begin, temperature, no_speech):
        end, _ = generation.end_and_pad(self.model, found.tokens.device)
        tokens = found.tokens[0, begin:].tolist()
        count = next((n for n, token in enumerate(tokens) if token in end.tolist()), len(tokens))
        text = self.text(tokens[:count])
        return Written(
            tokens=tokens[:count],
            steps=found.steps[0, :count].tolist(),
            text=text,
            temperature=temperature,
            log_prob=found.steps.sum().item() / (count + 1),
            compression_ratio=compression_ratio(text),
            no_speech=no_speech,
        )

    def _will_do(self, written):
        limits = self.strategy
        doubted = limits.log_prob is not None and written.log_prob < limits.log_prob
        if doubted and limits.no_speech is not None and written.no_speech > limits.no_speech:
            return True  # silence: no other text would be better
        repeats = limits.compression_ratio is not None and (
            written.compression_ratio > limits.compression_ratio
        )
        return not (doubted or repeats)

    def _is_silence(self, written):
        limits = self.strategy
        if limits.no_speech is None or written.no_speech <= limits.no_speech:
            return False
        return limits.log_prob is None or written.log_prob <= limits.log_prob

    def text(self, tokens):
        """Tokens -> their text, without the times."""
        return self.tokenizer.decode([t for t in tokens if t < self.no_times]).strip()

    def _finished(self, pieces, written, memory, seek, size):
        """Pieces of a window with a text and a duration -> what `segments` yields."""
        offset_s, at = seek * FRAME_S / 2, 0
        timed = self._timed(pieces, memory, offset_s, size) if self.words else []
        for start, end, tokens in pieces:
            steps = written.steps[at : at + len(tokens)]
            at += len(tokens)
            spoken = [(n, t) for n, t in enumerate(tokens) if t < self.no_times]
            text = self.text(tokens)
            count = len(spoken)
            mine, timed = timed[:count], timed[count:]
            if not text or start == end:
                continue
            self.said += tokens
            sure = [steps[n] for n, _ in spoken]
            segment = {
                "start_s": offset_s + start * FRAME_S,
                "end_s": offset_s + end * FRAME_S,
                "text": text,
                "probability": float(np.exp(np.mean(sure))),
                "temperature": written.temperature,
                "no_speech": written.no_speech,
                "compression_ratio": written.compression_ratio,
            }
            yield segment, words_of(mine, sure), [t for _, t in spoken]

    def _timed(self, pieces, memory, offset_s, size):
        """A (word, start_s, end_s) or None for every text token of a window: the word that begins
        with it. Tokens are timed without times between them, as the model was aligned, and none
        later than the last segment ends: the next window hears what follows."""
        frames, (_, end, last) = -(-size // 2), pieces[-1]
        if last and last[-1] >= self.first_time:
            frames = min(frames, int(end))
        tokens = [t for _, _, piece in pieces for t in piece if t < self.no_times]
        marks = [None] * len(tokens)
        prompt = torch.cat([self.prompt, self.prompt.new_tensor([[self.no_times]])], dim=1)
        for word, places, start_s, end_s in word_timing.word_times(
            self.model, memory, prompt, tokens, frames
        ):
            marks[places[0]] = (word, len(places), offset_s + start_s, offset_s + end_s)
        return marks


def words_of(marks, sure):
    """Marks of `_timed` for the tokens of a segment, and their log-probabilities -> list of
    (word, start_s, end_s, probability), the geometric mean over the word's tokens."""
    return [
        (mark[0], mark[2], mark[3], float(np.exp(np.mean(sure[at : at + mark[1]]))))
        for at, mark in enumerate(marks)
        if mark is not None
    ]


def segments_of(tokens, first_time, size):
    """Tokens of a window, cut where two times meet -> ([(start, end, tokens)], how far to go on).

    size: mel frames of sound in the window; start, end: in time steps; how far: in mel frames.
    After a last pair of times what follows is not whole, and the next window begins there; a single
    time at the very end says that nothing follows.
    """
    is_time = [token >= first_time for token in tokens]
    ends_alone = is_time[-2:] == [False, True]
    cuts = [n for n in range(1, len(tokens)) if is_time[n - 1] and is_time[n]]
    if not cuts:
        times = [token - first_time for token in tokens if token >= first_time]
        return [(0, times[-1] if times and times[-1] else size / 2, tokens)], size
    cuts += [len(tokens)] if ends_alone else []
    pieces = [tokens[a:b] for a, b in zip([0, *cuts[:-1]], cuts, strict=True)]
    move = size if ends_alone else 2 * (pieces[-1][-1] - first_time)
    return [(p[0] - first_time, p[-1] - first_time, p) for p in pieces], move


def compression_ratio(text):
    """How many times shorter zlib makes a text: what repeats itself is above 2."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data))


def _named(tokenizer, number, *names):
    """A special token's id: the number if there is one, else the first name that there is."""
    if number is not None:
        return int(number)
    return next((tokenizer.special[name] for name in names if name in tokenizer.special), None)
