"""Which tokens may come next: a checkpoint's suppressed tokens, its prompt and the timestamp rules.

Paper: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision".
input -> output: scores (batch, vocabulary) and tokens so far (batch, tokens) -> allowed tokens
(batch, vocabulary), True = allowed.
Special here: a rule is a function (scores, tokens so far, prompt length) that only forbids and
never sees a model, so PyTorch and Flax share the rules. `settings`: see `settings_of`.
"""

from dataclasses import dataclass

import numpy as np

from speechlib import configs


@dataclass(frozen=True)
class Suppress:
    """Some tokens never come (music notes, speaker marks, ...)."""

    tokens: tuple[int, ...]

    def __call__(self, logits, tokens, prompt_length: int):
        return _all_but(self.tokens, logits.shape)


@dataclass(frozen=True)
class SuppressAtBegin:
    """Some tokens never come first (a lone space, the end): the transcript is not empty."""

    tokens: tuple[int, ...]

    def __call__(self, logits, tokens, prompt_length: int):
        first = tokens.shape[1] == prompt_length
        return _all_but(self.tokens if first else (), logits.shape)


@dataclass(frozen=True)
class Timestamps:
    """Whisper's rules for time tokens, the ids from `no_timestamps` + 1 on (20 ms a step).

    end: id of the end token. All ids below it are text.
    latest_first: how many steps after 0 s the first time may lie; None: any.
    sum_rule: when all times together are likelier than the likeliest other token, a time comes.
    """

    end: int
    no_timestamps: int
    latest_first: int | None = None
    sum_rule: bool = True

    def __call__(self, logits, tokens, prompt_length: int):
        times = np.arange(logits.shape[-1]) > self.no_timestamps
        allowed = np.ones(logits.shape, dtype=bool)
        allowed[:, self.no_timestamps] = False
        if tokens.shape[1] == prompt_length:  # a transcript starts with a time
            allowed &= times
            if self.latest_first is not None:
                allowed[:, self.no_timestamps + 1 + self.latest_first + 1 :] = False
        for row, said in enumerate(np.asarray(tokens)[:, prompt_length:]):
            allowed[row] &= self._after(said, times)
        if self.sum_rule:
            allowed &= times | ~self._time_is_likelier(logits, allowed, times)[:, None]
        return allowed

    def _after(self, said, times):
        """What may follow the new tokens of one row: pairs of times that never run backwards."""
        allowed = np.ones(times.shape, dtype=bool)
        said_times = said[said > self.no_timestamps]
        if said_times.size == 0:
            return allowed
        closes = said[-1] > self.no_timestamps  # the last token is a time ...
        opens = len(said) < 2 or said[-2] > self.no_timestamps  # ... and the one before it too
        if closes and opens:
            allowed &= ~times  # a segment has been opened: text comes now
        elif closes:
            allowed[: self.end] = False  # one has been closed: no text before the next opens
        # a segment may open where the last closed; apart from that, time moves on
        earliest = said_times[-1] if closes and not opens else said_times[-1] + 1
        allowed[self.no_timestamps + 1 : earliest] = False
        return allowed

    def _time_is_likelier(self, logits, allowed, times):
        """(batch,) bool: summed probability of the times > the largest of any other token."""
        scores = np.where(allowed, logits, -np.inf).astype(np.float64)
        best = scores.max(axis=-1, keepdims=True)
        best = np.where(np.isfinite(best), best, 0.0)  # nothing left at all: compare zeros
        odds = np.exp(scores - best)
        other = np.where(times, 0.0, odds).max(axis=-1)
        return np.where(times, odds, 0.0).sum(axis=-1) > other


def allowed_tokens(rules, logits, tokens, prompt_length: int):
    """(batch, vocabulary) bool: what all `rules` together leave; each sees what earlier ones left.

    logits: (batch, vocabulary) scores; tokens: (batch, tokens so far), the prompt first.
    Raises ValueError when nothing is left for some row: the rules contradict each other.
    """
    logits, tokens = np.asarray(logits), np.asarray(tokens)
    allowed = np.ones(logits.shape, dtype=bool)
    for rule in rules:
        one = np.asarray(rule(np.where(allowed, logits, -np.inf), tokens, prompt_length))
        if one.shape != allowed.shape or one.dtype != bool:
            came = f"{rule!r} gave {one.shape} {one.dtype}"
            raise ValueError(f"expected a rule to return {allowed.shape} bool, but {came}")
        allowed &= one
    stuck = np.flatnonzero(~allowed.any(axis=-1))
    if stuck.size:
        raise ValueError(
            f"expected at least one allowed token a row; the rules forbid all in rows "
            f"{stuck.tolist()} after tokens {tokens[stuck[0]].tolist()}; pass fewer rules"
        )
    return allowed


def named_first(rules, first: bool, vocabulary: int):
    """Rules that only name tokens and stand before all others -> (their token ids, the others).

    first: is this the first new token? What they forbid can be taken away without asking them.
    """
    named: list[int] = []
    for place, rule in enumerate(rules):
        if type(rule) not in (Suppress, SuppressAtBegin):
            return named, rules[place:]
        if first or type(rule) is Suppress:
            named += [token for token in rule.tokens if 0 <= token < vocabulary]
    return named, []


_OF_A_DECODER = (
    *("decoder_start_token_id", "eos_token_id", "pad_token_id", "forced_decoder_ids"),
    *("suppress_tokens", "begin_suppress_tokens"),
)


def settings_of(config: dict, generation_config: dict | None) -> dict:
    """The generation settings of a checkpoint: generation_config.json, else config.json.

    Older folders have no generation_config.json and keep everything in config.json; some have one
    but leave `forced_decoder_ids` in config.json.
    """
    inner = config.get("decoder")
    if isinstance(inner, dict):  # a SpeechEncoderDecoder: what it leaves open says its decoder
        named = {name: value for name, value in config.items() if value is not None}
        config = {name: inner[name] for name in _OF_A_DECODER if name in inner} | named
    if not generation_config:
        return dict(config)
    settings = dict(generation_config)
    for name in ("forced_decoder_ids", "decoder_start_token_id", "eos_token_id", "pad_token_id"):
        if settings.get(name) is None and config.get(name) is not None:
            settings[name] = config[name]
    return settings


def check_settings(settings: dict, where) -> None:
    """Raises ValueError for an entry of another kind, such as text where token ids belong.

    settings: a generation_config.json or config.json; where: for the message. null is no entry.
    """
    for names, (fits, expected) in _KINDS.items():
        for name in names.split():
            value = settings.get(name)
            if value is not None and not fits(value):
                came = repr(value) if len(repr(value)) < 80 else f"{repr(value)[:80]}..."
                raise ValueError(
                    f"expected {name} in {where} as {expected}, came {came}: correct it there, or "
                    "take it out"
                )


def _whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _wholes(value):
    return isinstance(value, list) and all(map(_whole, value))


def _pairs(value):
    pairs = value if isinstance(value, list) else [value]
    return all(isinstance(pair, list) and len(pair) == 2 and _whole(pair[0]) for pair in pairs)


# entries -> (a test of their values, what is expected)
_KINDS = {
    "decoder_start_token_id pad_token_id no_timestamps_token_id max_initial_timestamp_index": (
        _whole,
        "a whole number",
    ),
    "eos_token_id": (
        lambda value: _whole(value) or (_wholes(value) and value),
        "a token id, or a list of them",
    ),
    "suppress_tokens begin_suppress_tokens": (_wholes, "a list of token ids"),
    "forced_decoder_ids": (
        lambda value: _pairs(value) and all(two is None or _whole(two) for _, two in value),
        "a list of [position, token id]",
    ),
    "alignment_heads": (
        lambda value: _pairs(value) and all(_whole(head) for _, head in value),
        "a list of [layer, head]",
    ),
    "lang_to_id task_to_id": (
        lambda value: isinstance(value, dict) and all(map(_whole, value.values())),
        "names and their token ids",
    ),
}


def rules_of(settings: dict, timestamps: bool | None = None) -> list:
    """The checkpoint's own rules, in the order in which they apply.

    timestamps: whether times are wanted; None: what the checkpoint says (`return_timestamps`).
    """
    rules = []
    if settings.get("begin_suppress_tokens"):
        rules.append(SuppressAtBegin(tuple(settings["begin_suppress_tokens"])))
    if settings.get("suppress_tokens"):
        rules.append(Suppress(tuple(settings["suppress_tokens"])))
    if _wants_times(settings, timestamps):
        rules.append(
            Timestamps(
                end=end_tokens(settings)[0],
                no_timestamps=settings["no_timestamps_token_id"],
                latest_first=settings.get("max_initial_timestamp_index"),
            )
        )
    return rules


def end_tokens(settings: dict) -> list[int]:
    """The ids that end a transcript. Raises ValueError when the checkpoint names none."""
    end = settings.get("eos_token_id")
    if end is None:
        raise ValueError("expected eos_token_id in generation_config.json or config.json, got none")
    return [int(token) for token in end] if isinstance(end, (list, tuple)) else [int(end)]


def end_and_pad(settings: dict, config) -> tuple[list[int], int]:
    """The ids that end a transcript, and the one that fills up after it: what the settings leave
    open says the model's config. Raises ValueError for a pad token outside its vocabulary."""
    named = {name: value for name, value in settings.items() if value is not None}
    settings = {"eos_token_id": config.end, "pad_token_id": config.pad} | named
    end = end_tokens(settings)
    pad = configs.token_in(config.vocabulary, "pad_token_id", settings["pad_token_id"])
    return end, end[0] if pad is None else pad


def prompt_of(
    settings: dict,
    start: int | None = None,
    language: str | None = None,
    task: str | None = None,
    timestamps: bool | None = None,
    vocabulary: int | None = None,
) -> list[int | None]:
    """What a transcript starts with: start token, then language, task and `no timestamps` if any.

    start: the start token where the settings name none. language: `"en"` or `"<|en|>"`; task:
    `"transcribe"` or `"translate"`; naming one of the two overrules what the checkpoint forces.
    None in the place of the language: to be heard first (see `language_tokens`).
    vocabulary: how many tokens there are; None: not looked at. Raises ValueError for a language or
    task that the checkpoint does not have, and for an entry that names a token beyond these.
    """
    language = language or settings.get("language")
    task = task or settings.get("task")
    if task == "transcribe" and not settings.get("task_to_id"):
        task = None  # a checkpoint without a choice does nothing else
    prompt: list[int | None] = [_start_token(settings, start)]
    if language is None and task is None:
        prompt += _forced(settings)
    if language is not None:
        prompt.append(_choose(settings, "lang_to_id", _language_token(language), "language"))
    elif settings.get("lang_to_id") and len(prompt) == 1:
        prompt.append(None)
    if task is not None:
        prompt.append(_choose(settings, "task_to_id", task, "task"))
    elif language is not None and settings.get("task_to_id"):
        prompt.append(_choose(settings, "task_to_id", "transcribe", "task"))
    silent = settings.get("no_timestamps_token_id")
    if silent is not None and prompt[-1] == silent:
        prompt.pop()
    if silent is not None and not _wants_times(settings, timestamps):
        prompt.append(silent)
    if not settings.get("lang_to_id"):  # no language to choose from: its place is left out
        prompt = [token for token in prompt if token is not None]
    _look_up(settings, prompt, vocabulary)
    return prompt


def _look_up(settings, prompt, vocabulary):
    """Are the prompt's tokens, and the languages that its None may become, in the vocabulary?"""
    if vocabulary is None:
        return
    configs.token_in(vocabulary, "decoder_start_token_id", prompt[0])
    entries = {
        "forced_decoder_ids": _forced(settings),
        "lang_to_id": language_tokens(settings),
        "task_to_id": [int(token) for token in (settings.get("task_to_id") or {}).values()],
        "no_timestamps_token_id": [settings.get("no_timestamps_token_id")],
    }
    languages = entries["lang_to_id"] if None in prompt else []
    for token in [*prompt[1:], *languages]:
        name = next((name for name, tokens in entries.items() if token in tokens), "the prompt")
        configs.token_in(vocabulary, name, token)


def language_tokens(settings: dict) -> list[int]:
    """The ids of all languages: the likeliest one after the start token is the language heard."""
    return [int(token) for token in (settings.get("lang_to_id") or {}).values()]


def _start_token(settings, otherwise: int | None) -> int:
    start = settings.get("decoder_start_token_id")
    start = otherwise if start is None else start
    if start is None:
        raise ValueError("expected decoder_start_token_id in generation_config.json, got none")
    return int(start)


def _forced(settings) -> list[int | None]:
    """forced_decoder_ids, [[position, token], ...] with positions 1, 2, ...; None: any token."""
    forced = settings.get("forced_decoder_ids") or []
    if forced and forced[0][0] != 1:
        return []
    if [position for position, _ in forced] != list(range(1, len(forced) + 1)):
        raise ValueError(f"expected forced_decoder_ids for positions 1, 2, 3, ..., got {forced}")
    return [token for _, token in forced]


def _choose(settings, table_name: str, name: str, kind: str) -> int:
    table = settings.get(table_name) or {}
    if not table:
        raise ValueError(f"this checkpoint has no {kind} to choose: leave out {name!r}")
    if name not in table:
        raise ValueError(f"{kind} {name!r} is not one of this checkpoint's: {sorted(table)}")
    return int(table[name])


def _language_token(language: str) -> str:
    if not isinstance(language, str):
        raise ValueError(f'expected a language such as "en", got {language!r}')
    language = language.lower()
    return language if language.startswith("<|") else f"<|{language}|>"


def _wants_times(settings, timestamps: bool | None) -> bool:
    wanted = settings.get("return_timestamps", False) if timestamps is None else timestamps
    if wanted and settings.get("no_timestamps_token_id") is None:
        raise ValueError(
            "timestamps were asked for, but generation_config.json has no no_timestamps_token_id: "
            "this checkpoint writes no times; pass timestamps=False"
        )
    return bool(wanted)


def _all_but(tokens, shape):
    """(batch, vocabulary) bool, False at these tokens."""
    # ids beyond the vocabulary name nothing: published lists are used with smaller vocabularies
    allowed = np.ones(shape, dtype=bool)
    allowed[:, [token for token in tokens if 0 <= token < shape[-1]]] = False
    return allowed
