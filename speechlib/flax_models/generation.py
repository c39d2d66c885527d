"""From logits to text: tokens are chosen one after another, in one compiled program.

input -> output: what the model listens to, and a prompt -> `Generation` (tokens and their
log-probabilities).
Special: the mirror of `torch_models/generation.py`, where it is a Python loop. Here listening, the
prompt and a `lax.while_loop` over buffers of fixed size are compiled once for all inputs of one
shape. Padding in front of a prompt stays in the buffer and is hidden by a mask.

Notebook: 19_flax
"""

import itertools
import numbers
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from speechlib import generation_rules, limits
from speechlib.flax_models import inputs as checked
from speechlib.trace import is_open

_searches = itertools.count()
_raised = {}  # number of a search -> what a rule raised: a compiled program has no exceptions


@dataclass(frozen=True)
class Generation:
    """tokens (batch, tokens): prompt, then what was generated, padded after the end token.
    scores (batch,): summed log-probability of the generated tokens.
    steps (batch, new tokens): log-probability of every new token, 0 after the end."""

    tokens: np.ndarray
    scores: np.ndarray
    steps: np.ndarray


def generate(
    model,
    inputs=None,
    *,
    max_tokens,
    prompt=None,
    rules=None,
    lengths=None,
    memory_mask=None,
    cache=True,
    **other,
):
    """Greedy search: at every step the most probable token that the rules allow.

    As `speechlib.generate`, whose other options (beams, sampling, a draft) are PyTorch's alone.
    Raises ValueError for those, and for what `speechlib.generate` refuses.
    """
    for name, value in other.items():
        plain = {"beams": 1, "length_penalty": 1.0, "early_stopping": False, "temperature": 0.0}
        if value != plain.get(name):
            # a draft is a whole model, too much for one line
            scalar = isinstance(value, numbers.Number | str | None)
            came = repr(value) if scalar else type(value).__name__
            raise ValueError(
                f"{name}={came} is not built in Flax, which has greedy search; "
                'speechlib.load(source, framework="torch") has it'
            )
    limits.whole_number("max_tokens", max_tokens, 1)
    given = _heard(model, inputs, lengths, memory_mask)
    settings = settings_of(model)
    if prompt is None:
        c = model.config
        prompt = generation_rules.prompt_of(settings, c.start, vocabulary=c.vocabulary)
    tokens = prompt_tokens(prompt, inputs, model.config.vocabulary)
    end, pad = end_and_pad(model)
    rules = generation_rules.rules_of(settings) if rules is None else rules
    if not isinstance(rules, list | tuple) or not all(map(callable, rules)):
        raise ValueError(f"expected rules as a list of functions, or None, got {rules!r}")
    front = (tokens == pad).cumprod(axis=1).astype(bool)
    if pad == model.config.start or front.all(axis=1).any():
        front[:] = False  # such a pad token is a token
    search = greedy_search if is_open() else _compiled  # compiled, it shows nobody what is inside
    number = next(_searches) % 2**31
    found = search(
        *(model, *given, tokens, ~front, number), max_tokens=int(max_tokens), end=end, pad=pad,
        rules=tuple(rules), cached=bool(cache),
    )  # fmt: skip
    buffer, steps, count = map(np.asarray, found)
    if number in _raised:
        raise _raised.pop(number)
    return Generation(buffer[:, : tokens.shape[1] + count], steps.sum(axis=1), steps[:, :count])


def greedy_search(
    model, inputs, lengths, memory_mask, tokens, real, number,
    *, max_tokens, end, pad, rules, cached,
):  # fmt: skip
    """-> tokens (batch, prompt + max_tokens), log-probabilities (batch, max_tokens), steps done.

    number: of this search, under which is kept what a rule raises.
    Everything that is no array (after `*`) is part of the program: another value compiles again.
    """
    memory = inputs
    if hasattr(model, "encode"):
        memory, memory_mask = model.encode(inputs, lengths)
    batch, begin = tokens.shape
    buffer = jnp.pad(tokens, ((0, 0), (0, max_tokens)), constant_values=pad)
    real = jnp.pad(real, ((0, 0), (0, max_tokens)), constant_values=True)
    read, kept = _reader(model, memory, memory_mask, buffer, real, begin, cached)
    logits, kept = read(kept, buffer, begin, begin)

    def go_on(state):
        _, _, step, finished, _, _ = state
        return (step < max_tokens) & ~finished.all()

    def one_step(state):
        buffer, steps, step, finished, logits, kept = state
        logits = _ruled(rules, logits, buffer, begin, begin + step, number)
        sure = jax.nn.log_softmax(logits)
        chosen = jnp.where(finished, pad, logits.argmax(axis=-1).astype(buffer.dtype))
        sure = jnp.where(finished, 0.0, sure.max(axis=-1))
        buffer = buffer.at[:, begin + step].set(chosen)
        steps = steps.at[:, step].set(sure)
        finished = finished | (chosen[:, None] == jnp.asarray(end)).any(axis=-1)
        logits, kept = read(kept, buffer, begin + step + 1, 1)
        return buffer, steps, step + 1, finished, logits, kept

    nobody = jnp.zeros(batch, bool)
    start = (buffer, jnp.zeros((batch, max_tokens)), 0, nobody, logits, kept)
    buffer, steps, count, *_ = _while(go_on, one_step, start)
    return buffer, steps, count


def _while(go_on, one_step, state):
    """`lax.while_loop`, which runs inside the compiled program; in Python for who traces."""
    if not is_open():
        return jax.lax.while_loop(go_on, one_step, state)
    while go_on(state):
        state = one_step(state)
    return state


_compiled = nnx.jit(
    greedy_search, static_argnames=("max_tokens", "end", "pad", "rules", "cached")
)


def _reader(model, memory, memory_mask, buffer, real, begin, cached):
    """-> a function (kept, buffer, count, new) -> logits (batch, vocabulary) after the first
    `count` tokens, the last `new` of which have not been read yet; and what it keeps between calls:
    the cache, taken apart into what never changes and a tree of arrays."""
    decode = model.decode if hasattr(model, "decode") else model
    if not cached:  # all of the buffer every time: what is not written yet lies after, unseen

        def read_all(kept, buffer, count, new):
            logits = decode(buffer, memory=memory, memory_mask=memory_mask, token_mask=real)
            return logits[:, count - 1].astype(jnp.float32), kept

        return read_all, ()
    cache = model.init_cache(*buffer.shape, memory=memory, memory_mask=memory_mask)
    structure, arrays = nnx.split(cache)

    def read_new(kept, buffer, count, new):
        cache = nnx.merge(structure, kept)
        tokens = jax.lax.dynamic_slice_in_dim(buffer, count - new, new, axis=1)
        so_far = real if not is_open() else real[:, :count]
        logits = decode(tokens, cache=cache, token_mask=so_far)[:, -1]
        return logits.astype(jnp.float32), nnx.state(cache)

    return read_new, arrays


def _ruled(rules, logits, tokens, begin, count, number):
    """logits (batch, vocabulary) with minus infinity where a rule forbids a token. Rules are NumPy:
    the compiled program calls them back. What one raises waits in `_raised`; all is allowed then,
    and `generate` raises it when the program has returned."""
    if not rules:
        return logits

    def allowed(logits, tokens, count, number):
        logits, tokens = np.asarray(logits), np.asarray(tokens)[:, : int(count)]
        try:
            if int(number) not in _raised:
                return generation_rules.allowed_tokens(rules, logits, tokens, begin)
        except Exception as error:
            _raised[int(number)] = error
        return np.ones(logits.shape, dtype=bool)

    shape = jax.ShapeDtypeStruct(logits.shape, bool)
    left = jax.pure_callback(allowed, shape, logits, tokens, count, number)
    return jnp.where(left, logits, -jnp.inf)


def settings_of(model) -> dict:
    """The checkpoint's generation settings; {} for a model that came from none."""
    if not hasattr(model, "checkpoint"):
        return {}
    return generation_rules.settings_of(model.checkpoint.config, model.checkpoint.generation)


def end_and_pad(model):
    """The tokens that end a text and the one that fills up after it."""
    end, pad = generation_rules.end_and_pad(settings_of(model), model.config)
    return tuple(end), pad


def _heard(model, inputs, lengths, memory_mask):
    """What is listened to, checked while its values are known: inputs, lengths, memory mask."""
    if not all(hasattr(model, name) for name in ("config", "init_cache")) or not callable(model):
        raise ValueError(
            f"expected a model that decodes, got {type(model).__name__}; speechlib.load gives one"
        )
    if hasattr(model, "encode"):
        if memory_mask is not None:
            raise ValueError(
                "memory_mask is for a lone decoder; a model that encodes makes its own from lengths"
            )
        return (*model.encoder.checked(inputs, lengths), None)
    if lengths is not None:
        raise ValueError("lengths are for a model that encodes; a lone decoder takes memory_mask")
    if inputs is None:
        if memory_mask is not None:
            raise ValueError("expected a memory for this memory_mask, got inputs=None")
        return None, None, None
    memory = checked.numbers(inputs, "memory (batch, frames, width)", None)
    if not jnp.isfinite(memory).all():
        raise ValueError("expected a finite memory, got NaN or infinity: is the audio finite?")
    return memory, None, memory_mask


def prompt_tokens(prompt, inputs, vocabulary):
    """-> (batch, tokens) NumPy: the same prompt for every row, or one each."""
    prompt = np.asarray(checked.as_array(prompt, "a prompt (tokens,) or (batch, tokens)"))
    batch = len(inputs) if inputs is not None else len(prompt) if prompt.ndim == 2 else 1
    if prompt.ndim == 1:
        prompt = np.tile(prompt, (batch, 1))
    if prompt.ndim != 2 or len(prompt) != batch or prompt.shape[1] == 0:
        raise ValueError(
            f"prompt must be (tokens,) or ({batch} rows, tokens) with at least one token, got "
            f"{tuple(prompt.shape)}"
        )
    return np.asarray(checked.tokens(prompt, vocabulary))
