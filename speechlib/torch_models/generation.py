"""From logits to text: tokens are chosen one after another.

input -> output: what the model listens to, and a prompt -> `Generation` (tokens and their
log-probabilities).
Special: the same loop with and without a cache; what may be said at all is decided by rules
(`generation_rules.py`), which know no framework. Beams and speculative decoding have files of
their own.

Notebook: 07_attention_variants (the cache), 09_whisper (greedy search)
"""

import torch

from speechlib import generation_rules, limits
from speechlib.torch_models import beam_search, speculative
from speechlib.torch_models.next_logits import (
    Generation,
    NextLogits,
    end_and_pad,
    ruled,
    settings_of,
)
from speechlib.torch_models.prompting import heard, own_prompt, prompt_tokens, rows_by_padding


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
    """Text for what the model hears, a token at a time -> `Generation`.

    inputs: mel (batch, mel bins, mel frames) or waveform (batch, samples), as `model.encode` takes
        them; of a lone decoder its memory (batch, frames, width), or None.
    max_tokens: counts new tokens. prompt: (batch, tokens) or (tokens,), padded on the left where
        rows differ in length; None: start token, then the checkpoint's forced, language and task
        tokens.
    rules: a list of `generation_rules`; None: the checkpoint's own; []: none.
    lengths: real samples (or mel frames) of each row; memory_mask (batch, frames), True = real:
        the same for the memory of a lone decoder.
    cache=False computes every step from the start: slower, the same tokens.

    How the next token is chosen:
    - temperature 0, beams 1: the likeliest (greedy search);
    - temperature above 0: drawn from softmax(logits / temperature); the same seed, the same text;
    - beams above 1: beam search as in transformers 4.46.3. A text of n tokens (its end token
      counts) is ranked by its summed log-probability / n^length_penalty. early_stopping: True stops
      at `beams` finished texts; False when no open one is likely to be better; "never" when none
      can be;
    - draft: a smaller model of the same vocabulary guesses ahead; the text is the greedy one. A
      whole model hears the inputs itself; a lone decoder listens to the same memory if its width
      fits, else it only reads.
    Raises ValueError for options that exclude each other, for inputs and prompts of another shape
    or kind, and for a text longer than the model's position table.
    """
    memory, memory_mask = heard(model, inputs, lengths, memory_mask)
    drafted = {}
    if draft is not None:
        drafted = _draft(model, draft, inputs, lengths, memory, memory_mask)
    return generate_from(
        model,
        memory,
        max_tokens=max_tokens,
        prompt=prompt,
        rules=rules,
        cache=cache,
        memory_mask=memory_mask,
        search=search_named(beams, length_penalty, early_stopping, temperature, seed, drafted),
    )


@torch.no_grad()
def generate_from(
    model,
    memory,
    *,
    max_tokens,
    prompt=None,
    rules=None,
    cache=True,
    memory_mask=None,
    search=None,
):
    """The same as `generate` for a memory (batch, frames, width) that was encoded before.

    search: from `search_named`; None: greedy.
    """
    limits.whole_number("max_tokens", max_tokens, 1)
    if memory is not None and not torch.isfinite(memory).all():
        raise ValueError("expected a finite memory, got NaN or infinity: is the mel finite?")
    if prompt is None:
        prompt = own_prompt(model, memory, memory_mask=memory_mask)
    device = next(model.parameters()).device
    tokens = prompt_tokens(prompt, memory, model.config.vocabulary).to(device)
    slots = model.config.slots
    if slots is not None and tokens.shape[1] + max_tokens - 1 > slots:
        raise ValueError(
            f"{tokens.shape[1]} prompt tokens and {max_tokens} new ones do not fit into the "
            f"model's {slots} positions; ask for fewer tokens"
        )
    if rules is None:
        rules = generation_rules.rules_of(settings_of(model))
    if not isinstance(rules, list | tuple) or not all(map(callable, rules)):
        raise ValueError(f"expected rules as a list of functions, or None, got {rules!r}")
    name, options = search or ("greedy", {})
    if name == "greedy" and memory_mask is None:
        find = greedy_search  # found by its name, so that `lessons.use` can replace it
    else:
        find, options = SEARCHES[name], options | {"memory_mask": memory_mask}
    return rows_by_padding(model, memory, tokens, find, options, max_tokens, rules, cache)


def greedy_search(model, memory, tokens, max_tokens, rules=(), cached=True):
    """The most probable token at every step -> `Generation`.

    memory (batch, frames, width); tokens (batch, prompt); rules: from `generation_rules`.
    """
    return step_by_step(model, memory, tokens, max_tokens, rules, cached)


def step_by_step(
    model,
    memory,
    tokens,
    max_tokens,
    rules=(),
    cached=True,
    *,
    memory_mask=None,
    temperature=0.0,
    generator=None,
):
    """The loop of greedy search and sampling: read what is new, choose, append, until all rows are
    at their end."""
    begin = tokens.shape[1]
    end, pad = end_and_pad(model, tokens.device)
    next_logits = NextLogits(
        model, memory, memory_mask, len(tokens), begin + max_tokens - 1, cached
    )
    finished = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
    steps = []
    for _ in range(max_tokens):
        logits = ruled(rules, next_logits(tokens)[:, -1], tokens, begin, ~finished)
        chosen = _choose(logits, temperature, generator)
        sure = logits.log_softmax(dim=-1).gather(1, chosen[:, None])[:, 0]
        chosen = torch.where(finished, pad, chosen)
        steps.append(torch.where(finished, 0.0, sure))
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        finished = finished | torch.isin(chosen, end)
        if finished.all():
            break
    steps = torch.stack(steps, dim=1)
    return Generation(tokens=tokens, scores=steps.sum(dim=1), steps=steps)


def _choose(logits, temperature, generator):
    """(rows, vocabulary) -> (rows,): the likeliest, or one drawn."""
    if temperature == 0 or len(logits) == 0:
        return logits.argmax(dim=-1)
    shares = (logits / temperature).softmax(dim=-1)
    if generator is not None:
        shares = shares.to(generator.device)  # a seed draws the same on every device
    return torch.multinomial(shares, 1, generator=generator)[:, 0].to(logits.device)


SEARCHES = {
    "greedy": step_by_step,
    "sampling": step_by_step,
    "beams": beam_search.beam_search,
    "speculative": speculative.speculative_search,
}


def search_named(
    beams=1, length_penalty=1.0, early_stopping=False, temperature=0.0, seed=None, drafted=None
):
    """The options of `generate` -> (a key of SEARCHES, what that search needs to know)."""
    limits.search_options(beams, length_penalty, early_stopping, temperature, seed, drafted)
    if beams > 1:
        return "beams", {
            "beams": int(beams),
            "length_penalty": float(length_penalty),
            "early_stopping": early_stopping,
        }
    if temperature > 0:
        return "sampling", {"temperature": float(temperature), "generator": _generator(seed)}
    return ("speculative", drafted) if drafted else ("greedy", {})


def _generator(seed):
    return None if seed is None else torch.Generator().manual_seed(int(seed))


def _draft(model, draft, inputs, lengths, memory, memory_mask):
    """What `speculative_search` needs to know of the small model."""
    if not all(hasattr(draft, name) for name in ("config", "init_cache")):
        raise ValueError(f"expected a smaller model as draft, got {type(draft).__name__}")
    ours, theirs = model.config.vocabulary, draft.config.vocabulary
    if ours != theirs:
        raise ValueError(
            f"expected a draft with the model's vocabulary of {ours} tokens, got one of {theirs}: "
            "its guesses would mean other words"
        )
    if hasattr(draft, "encode"):
        if not hasattr(model, "encode"):
            raise ValueError("a lone decoder needs a lone decoder as draft: there are no inputs")
        memory, memory_mask = heard(draft, inputs, lengths)
    elif memory is not None and memory.shape[-1] != draft.config.width:
        memory, memory_mask = None, None
    return {"draft": draft, "draft_memory": memory, "draft_mask": memory_mask}
