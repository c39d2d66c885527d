"""Whisper-tiny beside transformers, openai-whisper and CTranslate2: same weights, in turns.

Encoder of 30 s; 100 tokens greedy and with 4 beams, from what was heard; a training step of
whisper-digits' size. By hand, on a quiet machine: python tests/bench/bench_whisper.py [rounds]
"""

import json
import logging
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from measuring import THREADS, Worker, in_turns, serve, table
from whisper_peers import PEERS, TOKENS, made, make_folder

import speechlib as sl

DIGITS = Path(__file__).resolve().parents[2] / "data" / "checkpoints" / "whisper-digits"
MEL = np.random.default_rng(0).standard_normal((1, 80, 3000)).astype(np.float32) / 2
WORKS = {
    "encoder": ("encoder, 30 s", list(PEERS)),
    "greedy": ("greedy, 100 tokens, a token", list(PEERS)),
    "beams": ("4 beams, 100 tokens, a token", [n for n in PEERS if "openai" not in n]),
}


def job(work, name, folder):
    """-> (what is measured, the implementation)."""
    peer = made(name, folder)
    if work == "encoder":
        return lambda: peer.encode(MEL)
    heard = peer.encode(MEL)
    return lambda: peer.write(heard, 4 if work == "beams" else 1)


def measure(work, folder, rounds):
    title, names = WORKS[work]
    jobs = {name: Worker(__file__, work, name, str(folder)) for name in names}
    seconds, peaks = in_turns(jobs, rounds), {name: worker.peak for name, worker in jobs.items()}
    table(title, seconds, peaks, unit=1 if work == "encoder" else TOKENS)
    texts = {name: worker.result for name, worker in jobs.items()}
    for worker in jobs.values():
        worker.close()
    if work != "encoder":
        assert all(len(text) == TOKENS for text in texts.values()), "not 100 tokens everywhere"
        same = [name for name in names if texts[name] == texts["ours float32"]]
        print(f"\nThe same text: {', '.join(same)}.")


def training(rounds):
    """One step with AdamW: forward, backward, update; a batch of 8 recordings of 6 s."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    settings = json.loads((DIGITS / "config.json").read_text())
    settings = {n: v for n, v in settings.items() if n not in ("architectures", "torch_dtype")}
    generator = torch.Generator().manual_seed(0)
    mel = torch.randn(8, 80, 2 * settings["max_source_positions"], generator=generator)
    labels = torch.randint(2, settings["vocab_size"], (8, 12), generator=generator)
    models = {
        "ours": sl.Whisper(sl.configs.WhisperConfig.from_hugging_face(settings)),
        "transformers": WhisperForConditionalGeneration(WhisperConfig(**settings)),
    }
    losses = {
        "ours": lambda: models["ours"].loss(mel, labels),
        "transformers": lambda: models["transformers"](mel, labels=labels).loss,
    }
    optimizers = {n: torch.optim.AdamW(m.train().parameters()) for n, m in models.items()}

    def step(name):
        optimizers[name].zero_grad()
        losses[name]().backward()
        optimizers[name].step()

    jobs = {name: (lambda name=name: step(name)) for name in models}
    table("training step, size of whisper-digits, batch of 8", in_turns(jobs, 4 * rounds))


def main(rounds=5):
    """Prints the tables."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    print(f"Whisper-tiny, random weights, end token suppressed; {THREADS} threads")
    with tempfile.TemporaryDirectory() as folder:
        make_folder(folder)
        for work in WORKS:
            measure(work, folder, rounds)
    training(rounds)


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    if sys.argv[1:2] == ["--serve"]:
        serve(job(*sys.argv[2:]))
    else:
        main(*map(int, sys.argv[1:]))
