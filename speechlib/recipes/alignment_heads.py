"""Which cross-attention heads follow the sound: measured on utterances whose word times are known.

input -> output: a model from `sl.load` and utterances -> [[layer, head], ...], best first.
Special: Whisper's released checkpoints name such heads; here they are found again for our own.
"""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

import speechlib as sl
from speechlib import paths
from speechlib.torch_models import generation
from speechlib.torch_models.short_form import SAMPLES_A_FRAME, mel_for
from speechlib.torch_models.word_timing import cross_attention, spans_of, tokenizer_of


def alignment_heads(model, utterances, least=0.9, most=5):
    """The heads that time words best, together -> [[layer, head], ...]. Of those that look inside
    the word that they are about to find, for at least `least` of the best head's share and `most`
    of them, every set is tried."""
    spoken = [told(model, one) for one in utterances]
    heads = [(layer, head) for layer, maps in enumerate(spoken[0][0]) for head in range(len(maps))]
    shares = {head: share_inside(spoken, head) for head in heads}
    good = [head for head in heads if shares[head] >= least * max(shares.values())]
    good = sorted(good, key=shares.get, reverse=True)[:most]
    sets = [some for size in range(len(good)) for some in combinations(good, size + 1)]
    return [list(head) for head in min(sets, key=lambda some: time_error(spoken, some))]


def write_into(folder, utterances):
    """Notes them in a checkpoint's generation_config.json, where `transcribe` looks for them."""
    file = Path(folder, "generation_config.json")
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["alignment_heads"] = alignment_heads(sl.load(folder), utterances)
    paths.write_json(file, settings)


def share_inside(spoken, head):
    """How much of a head's weight lies inside the word, mean over all words: 0 to 1. Two frames
    more on either side count as inside: a frame hears 65 ms."""
    layer, number = head
    shares = []
    for maps, places, prompt, known, _ in spoken:
        for place, (start_s, end_s) in zip(places, known, strict=True):
            # the row that finds a token is the one before it
            row = maps[layer][number, prompt - 1 + place[0]]
            shares.append(row[max(0, int(start_s * 50) - 2) : int(end_s * 50) + 3].sum())
    return float(np.mean(shares))


def time_error(spoken, heads):
    """Seconds by which starts and ends of words are missed with these heads, mean over all."""
    missed = []
    for maps, places, prompt, known, frames in spoken:
        weights = np.stack([maps[layer][head] for layer, head in heads])
        missed.append(np.abs(np.array(spans_of(weights, places, prompt, frames)) - known))
    return float(np.concatenate(missed).mean())


@torch.no_grad()
def told(model, spoken):
    """The model is told the words of an utterance, so that only their places are asked.

    -> maps by layer (head, token, frame), places of the words' tokens, prompt length, known
    times (words, 2) in seconds, frames of real audio."""
    tokenizer, wave = tokenizer_of(model), spoken.wave()
    memory = model.encode(mel_for(model, wave))
    prompt = generation.own_prompt(model, memory)
    tokens = tokenizer.encode(spoken.text)
    maps = cross_attention(model, memory, prompt, tokens)
    places = [place for _, place in tokenizer.words(tokens)]
    known = np.array([[start_s, end_s] for _, start_s, end_s in spoken.words])
    frames = min(-(-len(wave) // SAMPLES_A_FRAME), memory.shape[1])
    return maps, places, prompt.shape[1], known, frames
