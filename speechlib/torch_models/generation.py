"""From logits to text: tokens are chosen one after another.

input -> output: what the model listens to, and a prompt -> `Generation` (tokens and their
log-probabilities).
Special: the same loop with and without a cache; what may be said at all is decided by rules
(`generation_rules.py`), which know no framework.

Notebook: 07_attention_variants (the cache), 09_whisper (greedy search)
"""

import numbers
from dataclasses import dataclass

import torch

from speechlib import generation_rules
from speechlib.torch_models import inputs as checked


@dataclass(frozen=True)
class Generation:
    """tokens (batch, tokens): prompt, then what was generated, padded after the end token.
    scores (batch,): summed log-probability of the generated tokens.
    steps (batch, new tokens): log-probability of every new token, 0 after the end."""

    tokens: torch.Tensor
    scores: torch.Tensor
    steps: torch.Tensor


@torch.no_grad()
def generate(
    model,
    inputs=None,
    *,
    max_tokens,
    beams=1,
    length_penalty=1.0,
    early_stopping=False,
    temperature=0.0,
    seed=None,
    prompt=None,
    rules=None,
    lengths=None,
    memory_mask=None,
    draft=None,
    cache=True,
):
    """Greedy search: at every step the most probable token that the rules allow.

    inputs: mel (batch, mel bins, mel frames). max_tokens: counts new tokens. prompt: (batch,
    tokens) or (tokens,); None: start token, then the checkpoint's forced, language and task tokens.
    rules: a list of `generation_rules`; None: the checkpoint's own; []: none. cache=False computes
    every step from the start: slower, the same tokens.
    Raises ValueError for an option that this release does not have, for inputs and prompts of
    another shape or kind, and for a text longer than the model's position table.
    """
    if not all(hasattr(model, name) for name in ("config", "encode", "decode", "new_cache")):
        raise ValueError(
            f"expected a model that encodes and decodes, got {type(model).__name__}; "
            "speechlib.load gives one"
        )
    refuse_unbuilt(
        beams=(beams, 1),
        temperature=(temperature, 0.0),
        seed=(seed, None),
        draft=(draft, None),
        lengths=(lengths, None),
        memory_mask=(memory_mask, None),
        length_penalty=(length_penalty, 1.0),
        early_stopping=(early_stopping, False),
    )
    memory = model.encode(inputs)
    return generate_from(
        model, memory, max_tokens=max_tokens, prompt=prompt, rules=rules, cache=cache
    )


@torch.no_grad()
def generate_from(model, memory, *, max_tokens, prompt=None, rules=None, cache=True):
    """The same as `generate` for a memory (batch, frames, width) that was encoded before."""
    if not isinstance(max_tokens, numbers.Integral) or max_tokens < 1:
        raise ValueError(f"max_tokens must be a whole number of at least 1, got {max_tokens!r}")
    if not torch.isfinite(memory).all():
        raise ValueError("expected a finite memory, got NaN or infinity: is the mel finite?")
    if prompt is None:
        prompt = own_prompt(model, memory)
    tokens = _prompt_tokens(prompt, len(memory), model.config.vocabulary).to(memory.device)
    slots = model.config.slots
    if tokens.shape[1] + max_tokens - 1 > slots:
        raise ValueError(
            f"{tokens.shape[1]} prompt tokens and {max_tokens} new ones do not fit into the "
            f"model's {slots} positions; ask for fewer tokens"
        )
    if rules is None:
        rules = generation_rules.rules_of(settings_of(model))
    if not isinstance(rules, list | tuple) or not all(map(callable, rules)):
        raise ValueError(f"expected rules as a list of functions, or None, got {rules!r}")
    return greedy_search(model, memory, tokens, max_tokens, rules, cache)


def greedy_search(model, memory, tokens, max_tokens, rules=(), cached=True):
    """The loop itself -> `Generation`.

    memory (batch, frames, width); tokens (batch, prompt); rules: from `generation_rules`.
    """
    begin = tokens.shape[1]
    end, pad = _end_and_pad(model, tokens.device)
    cache = model.new_cache(memory, slots=begin + max_tokens) if cached else None
    finished = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
    steps = []
    for _ in range(max_tokens):
        new = tokens if cache is None or cache.length == 0 else tokens[:, -1:]
        logits = model.decode(new, memory, cache)[:, -1].float()
        if rules:
            scores, so_far = logits.cpu().numpy(), tokens.cpu().numpy()
            allowed = generation_rules.allowed_tokens(rules, scores, so_far, begin)
            logits = logits.masked_fill(~torch.from_numpy(allowed).to(logits.device), -torch.inf)
        best, chosen = logits.log_softmax(dim=-1).max(dim=-1)
        chosen = torch.where(finished, pad, chosen)
        steps.append(torch.where(finished, 0.0, best))
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        finished = finished | torch.isin(chosen, end)
        if finished.all():
            break
    steps = torch.stack(steps, dim=1)
    return Generation(tokens=tokens, scores=steps.sum(dim=1), steps=steps)


def _end_and_pad(model, device):
    """The tokens that end a text (a tensor) and the one that fills up after it."""
    settings = {"eos_token_id": model.config.end, "pad_token_id": model.config.pad}
    settings |= settings_of(model)
    end = generation_rules.end_tokens(settings)
    pad = settings["pad_token_id"]
    return torch.tensor(end, device=device), end[0] if pad is None else pad


def settings_of(model) -> dict:
    """The checkpoint's generation settings; {} for a model that came from none."""
    if not hasattr(model, "checkpoint"):
        return {}
    return generation_rules.settings_of(model.checkpoint.config, model.checkpoint.generation)


@torch.no_grad()
def own_prompt(model, memory, language=None, task=None, timestamps=None):
    """-> (batch, tokens): start token, then the checkpoint's forced, language and task tokens.

    A language that nobody named is heard in memory (batch, frames, width): the likeliest after
    the start token, for each row by itself.
    """
    settings = settings_of(model)
    prompt = generation_rules.prompt_of(settings, model.config.start, language, task, timestamps)
    unheard = [place for place, token in enumerate(prompt) if token is None]
    rows = torch.tensor([0 if token is None else token for token in prompt], device=memory.device)
    rows = rows.repeat(len(memory), 1)
    if unheard:
        languages = torch.tensor(generation_rules.language_tokens(settings), device=memory.device)
        logits = model.decode(rows[:, :1], memory)[:, 0, languages]
        rows[:, unheard] = languages[logits.argmax(dim=-1)][:, None]
    return rows


def _prompt_tokens(prompt, batch, vocabulary):
    """-> (batch, tokens): the same prompt for every row, or one each."""
    prompt = checked.as_tensor(prompt, "a prompt (tokens,) or (batch, tokens)")
    if prompt.dim() == 1:
        prompt = prompt.expand(batch, -1)
    if prompt.dim() != 2 or len(prompt) != batch or prompt.shape[1] == 0:
        raise ValueError(
            f"prompt must be (tokens,) or ({batch} rows, tokens) with at least one token, got "
            f"{tuple(prompt.shape)}"
        )
    return checked.tokens(prompt, vocabulary, prompt.device)


def refuse_unbuilt(**options):
    """name=(value, the only value that works today): anything else is refused by name."""
    for name, (value, only) in options.items():
        plain = value is None or isinstance(value, int | float | str)
        if not plain or value != only:
            came = repr(value) if plain else f"a {type(value).__name__}"
            raise ValueError(
                f"{name} is not built yet: this release has {name}={only!r} only, got {came}"
            )
