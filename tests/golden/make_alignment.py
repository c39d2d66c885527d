"""Makes the goldens for words and word times: what openai-whisper 20250625 computes.

    python tests/golden/make_alignment.py      (in an environment with openai-whisper)

words.json: texts split into words with Whisper's real vocabulary. Only the merges that these texts
use are kept, so that the file stays small; the tokens are the same.
alignment.npz: DTW paths, median filters, and word times of a tiny random model.
"""

import base64
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import whisper
from whisper.model import ModelDimensions, Whisper, disable_sdpa
from whisper.timing import (
    WordTiming,
    dtw_cpu,
    find_alignment,
    median_filter,
    merge_punctuations,
)
from whisper.tokenizer import get_tokenizer

HERE = Path(__file__).parent
TEXTS = [
    " Hello, world! It's 3.14 (isn't it?)",
    " The quick brown fox jumps over the lazy dog; twice.",
    " Żółw i jeż, naïve café",
    " 猫が好きです。今日は",
    " 😀 ok 👩‍🚀 go",
    "  two  spaces\n and a line",
    " a\ufffdb",
    "hello",
    " x",
    "",
    ' He said: "no-one" – [laughs] …',
    " 123 4567 $8.90 50%",
    " สวัสดีครับ",
]


def printable():
    """byte -> the character that stands for it in vocabulary files (GPT-2's table)."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [byte for byte in range(256) if byte not in kept]
    return {b: chr(b) for b in kept} | {b: chr(256 + n) for n, b in enumerate(moved)}


def used_merges(ranks, texts_tokens):
    """rank -> (left, right) of every merge on the way to the tokens."""
    found = {}

    def visit(token):
        if len(token) == 1 or ranks[token] in found:
            return
        pieces = [bytes([byte]) for byte in token]
        while len(pieces) > 2:
            best = min(
                range(len(pieces) - 1), key=lambda i: ranks.get(pieces[i] + pieces[i + 1], 10**9)
            )
            pieces[best : best + 2] = [pieces[best] + pieces[best + 1]]
        found[ranks[token]] = tuple(pieces)
        for piece in pieces:
            visit(piece)

    for tokens in texts_tokens:
        for token in tokens:
            visit(token)
    return dict(sorted(found.items()))


def merged(split):
    """The words after punctuation has joined them; those it emptied are gone."""
    timed = [WordTiming(word, [n], n, n, 1.0) for n, word in enumerate(split)]
    merge_punctuations(timed, "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、")
    return [[each.word, each.start] for each in timed if each.word]


def words():
    path = Path(whisper.__file__).parent / "assets" / "multilingual.tiktoken"
    pairs = (line.split() for line in path.read_text().splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in pairs}
    of_rank = {rank: token for token, rank in ranks.items()}
    tokenizer = get_tokenizer(True, language="en", task="transcribe")
    character = printable()

    def spell(token):
        return "".join(character[byte] for byte in token)

    entries, tokens_of = [], []
    for text in TEXTS:
        ids = tokenizer.encode(text)
        split, groups = tokenizer.split_to_word_tokens(ids)
        tokens_of.append([of_rank[number] for number in ids])
        entries.append({
            "text": text,
            "tokens": [spell(of_rank[number]) for number in ids],
            "words": split,
            "tokens_a_word": [len(group) for group in groups],
            "merged": merged(split),
            "characters": tokenizer.split_tokens_on_unicode(ids)[0],
        })  # fmt: skip
    merges = used_merges(ranks, tokens_of)
    content = {
        "version": version("openai-whisper"),
        "bytes": [spell(bytes([byte])) for byte in range(256)],
        "merges": [[spell(left), spell(right)] for left, right in merges.values()],
        "texts": entries,
    }
    (HERE / "words.json").write_text(json.dumps(content, indent=0, ensure_ascii=True) + "\n")


@torch.no_grad()
def times():
    """Word times of a random model, and the attention weights they come from."""
    torch.manual_seed(3)
    tokenizer = get_tokenizer(True, language="en", task="transcribe")
    sizes = ModelDimensions(
        n_mels=80, n_audio_ctx=1500, n_audio_state=16, n_audio_head=2, n_audio_layer=1,
        n_vocab=51865, n_text_ctx=64, n_text_state=16, n_text_head=2, n_text_layer=2,
    )  # fmt: skip
    model = Whisper(sizes).eval()
    for parameter in model.parameters():
        parameter.data = torch.randn_like(parameter) * 0.5
    mel, mel_frames = torch.randn(80, 3000), 184
    tokens = tokenizer.encode(" Hello, world! It's 3.14 isn't it")
    found = find_alignment(model, tokenizer, tokens, mel, mel_frames)
    scores = []
    hooks = [
        block.cross_attn.register_forward_hook(lambda m, i, o: scores.append(o[-1][0]))
        for block in model.decoder.blocks
    ]
    prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
    with disable_sdpa():
        model(mel[None], torch.tensor([[*prompt, *tokens, tokenizer.eot]]))
    for hook in hooks:
        hook.remove()
    heads = model.alignment_heads.indices().T.tolist()
    weights = torch.stack([scores[layer][head] for layer, head in heads]).softmax(dim=-1)
    groups = [len(each.tokens) for each in found]
    return {
        # frames that are never looked at again are kept few: the sum over all is what matters
        "times.weights": weights[:, :, : mel_frames // 2 + 20].numpy(),
        "times.prompt": len(prompt),
        "times.frames": mel_frames // 2,
        "times.tokens_a_word": np.array(groups),
        "times.start": np.array([each.start for each in found]),
        "times.end": np.array([each.end for each in found]),
    }


def main():
    words()
    out = {"version": np.array(version("openai-whisper"))}
    for number in range(40):
        rng = np.random.default_rng(number)
        size = rng.integers(1, 10), rng.integers(1, 30)
        # every other one has whole numbers: many paths are equally cheap
        cost = rng.normal(size=size) if number % 2 else rng.integers(-2, 3, size).astype(float)
        out[f"dtw.{number}.cost"], out[f"dtw.{number}.path"] = cost, dtw_cpu(cost)
    x = np.random.default_rng(0).normal(size=(2, 3, 40)).astype(np.float32)
    out["median.x"] = x
    for width in (1, 3, 7, 39):
        out[f"median.{width}"] = median_filter(torch.tensor(x), width).numpy()
    np.savez_compressed(HERE / "alignment.npz", **out, **times())


if __name__ == "__main__":
    main()
