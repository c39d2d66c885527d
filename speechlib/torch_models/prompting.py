"""What goes into a search: what the model hears, and the tokens that a text starts with.

input -> output: inputs, a prompt -> memory (batch, frames, width), prompt (batch, tokens).
Special: padding in front of a prompt is no token. Rows with equally much of it are searched
together, without it; so no position and no mask has to know of it.

Notebook: 09_whisper
"""

import torch

from speechlib import generation_rules
from speechlib.torch_models import inputs as checked
from speechlib.torch_models.next_logits import Generation, NextLogits, end_and_pad, settings_of


def heard(model, inputs, lengths=None, memory_mask=None):
    """-> memory (batch, frames, width) or None, its mask (batch, frames) or None."""
    if not all(hasattr(model, name) for name in ("config", "init_cache")) or not callable(model):
        raise ValueError(
            f"expected a model that decodes, got {type(model).__name__}; speechlib.load gives one"
        )
    if hasattr(model, "encode"):
        if memory_mask is not None:
            raise ValueError(
                "memory_mask is for a lone decoder; a model that encodes makes its own from lengths"
            )
        found = model.encode(inputs) if lengths is None else model.encode(inputs, lengths)
        return found if isinstance(found, tuple) else (found, None)
    if lengths is not None:
        raise ValueError("lengths are for a model that encodes; a lone decoder takes memory_mask")
    if inputs is None:
        if memory_mask is not None:
            raise ValueError("expected a memory for this memory_mask, got inputs=None")
        return None, None
    like = next(model.parameters())
    if memory_mask is not None:
        memory_mask = checked.as_tensor(memory_mask, "a memory mask (batch, frames)")
    return checked.numbers(inputs, "memory (batch, frames, width)", like), memory_mask


@torch.no_grad()
def own_prompt(model, memory, language=None, task=None, timestamps=None, memory_mask=None):
    """-> (batch, tokens): start token, then the checkpoint's forced, language and task tokens.

    A language that nobody named is heard in memory (batch, frames, width): the likeliest after
    the start token, for each row by itself.
    """
    c, settings = model.config, settings_of(model)
    wanted = (language, task, timestamps)
    prompt = generation_rules.prompt_of(settings, c.start, *wanted, vocabulary=c.vocabulary)
    unheard = [place for place, token in enumerate(prompt) if token is None]
    device = next(model.parameters()).device
    rows = torch.tensor([0 if token is None else token for token in prompt], device=device)
    rows = rows.repeat(1 if memory is None else len(memory), 1)
    if unheard:
        languages = torch.tensor(generation_rules.language_tokens(settings), device=device)
        logits = NextLogits(model, memory, memory_mask, len(rows), 1, cached=False)(rows[:, :1])
        rows[:, unheard] = languages[logits[:, 0, languages].argmax(dim=-1)][:, None]
    return rows


def prompt_tokens(prompt, memory, vocabulary):
    """-> (batch, tokens): the same prompt for every row, or one each."""
    prompt = checked.as_tensor(prompt, "a prompt (tokens,) or (batch, tokens)")
    batch = len(memory) if memory is not None else len(prompt) if prompt.dim() == 2 else 1
    if prompt.dim() == 1:
        prompt = prompt.expand(batch, -1)
    if prompt.dim() != 2 or len(prompt) != batch or prompt.shape[1] == 0:
        raise ValueError(
            f"prompt must be (tokens,) or ({batch} rows, tokens) with at least one token, got "
            f"{tuple(prompt.shape)}"
        )
    return checked.tokens(prompt, vocabulary, prompt.device)


def rows_by_padding(model, memory, tokens, find, options, max_tokens, rules, cache):
    """Runs the search for rows with equally much padding on the left, then puts them together.

    Padding is no token: its rows give what they give alone, without it. A prompt of nothing but
    padding is taken as tokens, and so is a pad token in a model that starts with it.
    """
    settings, (_, filler) = settings_of(model), end_and_pad(model, tokens.device)
    pad = settings.get("pad_token_id")
    pad = model.config.pad if pad is None else pad
    if pad is None or pad in (model.config.start, settings.get("decoder_start_token_id")):
        return find(model, memory, tokens, max_tokens, rules, cache, **options)
    front = (tokens == pad).cumprod(dim=1).sum(dim=1)
    if not front.any() or (front == tokens.shape[1]).any():
        return find(model, memory, tokens, max_tokens, rules, cache, **options)
    parts = []
    for count in front.unique().tolist():
        rows = torch.nonzero(front == count)[:, 0]
        own = {
            name: value[rows] if name.endswith(("mask", "memory")) and value is not None else value
            for name, value in options.items()
        }
        mine = None if memory is None else memory[rows]
        part = find(model, mine, tokens[rows, count:], max_tokens, rules, cache, **own)
        parts.append((rows, part))
    longest = max(part.steps.shape[1] for _, part in parts)
    new = tokens.new_full((len(tokens), longest), filler)
    steps = torch.zeros((len(tokens), longest), device=tokens.device)
    scores = torch.zeros(len(tokens), device=tokens.device)
    for rows, part in parts:
        count = part.steps.shape[1]
        new[rows, :count], steps[rows, :count] = part.tokens[:, -count:], part.steps
        scores[rows] = part.scores
    return Generation(tokens=torch.cat([tokens, new], dim=1), scores=scores, steps=steps)
