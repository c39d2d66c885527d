"""Where and when: which words the tokens make, where the decoder looked, when each was said.

input -> output: memory (1, frames, width), prompt (1, tokens), tokens -> words with their times.
Special: the times are warped as openai/whisper does it, then cut to where the decoder looked while
it looked for the word (`alignment.tightened`).

Notebook: 00_start_here, 09_whisper
"""

import numpy as np
import torch

from speechlib import alignment, tokenizers
from speechlib.torch_models.next_logits import settings_of
from speechlib.trace import trace


def tokenizer_of(model):
    """The tokenizer from the folder that the model came from."""
    if not hasattr(model, "tokenizer"):
        if not hasattr(model, "checkpoint"):
            raise ValueError("this model came from no checkpoint, so it has no tokenizer")
        model.tokenizer = tokenizers.load_tokenizer(model.checkpoint.folder)
    return model.tokenizer


def word_times(model, memory, prompt, tokens, frames):
    """When each word was said -> list of (word, places of its tokens, start_s, end_s).

    memory (1, frames, width), prompt (1, tokens), tokens: list of ids after the prompt; frames:
    encoder frames of real audio.
    """
    words = grouped(model, prompt, tokens)
    if not words:  # a window of a long recording in which nothing was written
        return []
    weights = alignment_weights(model, memory, prompt, tokens)
    places = [place for _, place in words]
    spans = spans_of(weights, places, prompt.shape[1], frames)
    timed = [(word, place, *span) for (word, place), span in zip(words, spans, strict=True)]
    return tidy(timed)


def spans_of(weights, places, prompt_length, frames):
    """Warped, then cut to where the decoder looked: (start_s, end_s) of each word. weights (head,
    token, frame); the rest as for `alignment.word_times`."""
    spans = alignment.word_times(weights, places, prompt_length, frames)
    return alignment.tightened(spans, weights, places, prompt_length, frames)


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


def grouped(model, prompt, tokens):
    """Tokens after the prompt -> list of (word, places of its tokens)."""
    tokenizer = tokenizer_of(model)
    spaces = language_of(prompt[0].tolist(), tokenizer) not in tokenizers.WITHOUT_SPACES
    return tokenizer.words(tokens, spaces)


def tidy(words):
    """(word, ...) with punctuation joined to its word, without what is only space."""
    words = alignment.attach_punctuation(words)
    return [(word.strip(), *rest) for word, *rest in words if word.strip()]


def alignment_heads(model):
    """(layer, head) pairs of the decoder whose cross-attention follows the sound: the
    checkpoint's own list, else every head of the upper half of the layers. Raises ValueError for
    a list that names others than the model has."""
    named = settings_of(model).get("alignment_heads")
    layers, heads = model.config.decoder_layers, model.config.decoder.heads
    if named:
        if not all(0 <= layer < layers and 0 <= head < heads for layer, head in named):
            raise ValueError(
                f"expected alignment_heads as [layer, head] within {layers} layers x {heads} heads "
                f"of the decoder, counted from 0, got {named}: correct generation_config.json, or "
                "take the entry out"
            )
        return [(int(layer), int(head)) for layer, head in named]
    return [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]


def language_of(prompt, tokenizer):
    """The two-letter language among the prompt's special tokens, or None."""
    names = {number: name for name, number in tokenizer.special.items()}
    spoken = [names.get(token, "").strip("<|>") for token in prompt[1:2]]
    return spoken[0] if spoken and 2 <= len(spoken[0]) <= 3 else None
