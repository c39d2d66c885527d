"""Which cross-attention heads follow the sound: measured on utterances whose word times are known.

input -> output: a model from `sl.load` and utterances -> [[layer, head], ...], best first.
Special: Whisper's released checkpoints name such heads; here they are found again for our own.
"""

import json
from pathlib import Path

import numpy as np
import torch

import speechlib as sl
from speechlib.torch_models import generation
from speechlib.torch_models.short_form import mel_for
from speechlib.torch_models.word_timing import cross_attention, tokenizer_of


def alignment_heads(model, utterances, least=0.94):
    """The heads that look inside the word that they are about to find: those whose weight lies
    there for at least `least` of the best head's share -> [[layer, head], ...], best first."""
    spoken = [told(model, one) for one in utterances]
    heads = [(layer, head) for layer, maps in enumerate(spoken[0][0]) for head in range(len(maps))]
    shares = {head: share_inside(spoken, head) for head in heads}
    good = [head for head in heads if shares[head] >= least * max(shares.values())]
    return [list(head) for head in sorted(good, key=shares.get, reverse=True)]


def write_into(folder, utterances):
    """Notes them in a checkpoint's generation_config.json, where `transcribe` looks for them."""
    file = Path(folder, "generation_config.json")
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["alignment_heads"] = alignment_heads(sl.load(folder), utterances)
    file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def share_inside(spoken, head):
    """How much of a head's weight lies inside the word, mean over all words: 0 to 1. Two frames
    more on either side count as inside: a frame hears 65 ms."""
    layer, number = head
    shares = []
    for maps, places, prompt, known in spoken:
        for place, (start_s, end_s) in zip(places, known, strict=True):
            # the row that finds a token is the one before it
            row = maps[layer][number, prompt - 1 + place[0]]
            shares.append(row[max(0, int(start_s * 50) - 2) : int(end_s * 50) + 3].sum())
    return float(np.mean(shares))


@torch.no_grad()
def told(model, spoken):
    """The model is told the words of an utterance, so that only their places are asked.

    -> maps by layer (head, token, frame), places of the words' tokens, prompt length, known
    times (words, 2) in seconds."""
    tokenizer, wave = tokenizer_of(model), spoken.wave()
    memory = model.encode(mel_for(model, wave))
    prompt = generation.own_prompt(model, memory)
    tokens = tokenizer.encode(spoken.text)
    maps = cross_attention(model, memory, prompt, tokens)
    places = [place for _, place in tokenizer.words(tokens)]
    known = np.array([[start_s, end_s] for _, start_s, end_s in spoken.words])
    return maps, places, prompt.shape[1], known
