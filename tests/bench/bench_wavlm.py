"""WavLM-base on 30 s beside transformers: same random weights, in turns.

By hand, on a quiet machine: python tests/bench/bench_wavlm.py [rounds]
"""

import logging
import sys
import tempfile

import torch
from measuring import THREADS, Worker, in_turns, serve, table
from transformers import WavLMConfig, WavLMModel

import speechlib as sl

NAMES = ("ours float32", "ours bfloat16", "transformers float32", "transformers bfloat16")
# noise: what is heard makes no difference to the time
WAVE = torch.randn(1, 30 * 16_000, generator=torch.Generator().manual_seed(0)) / 9


def job(name, folder):
    """What is measured."""
    whose, dtype = name.split()
    wave = WAVE.to(getattr(torch, dtype))
    if whose == "ours":
        model = sl.load(folder, dtype=dtype)
    else:
        model = WavLMModel.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    return torch.inference_mode()(lambda: model(wave))


def main(rounds=5):
    """Prints the table."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    print(f"WavLM-base, random weights; {THREADS} threads")
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        WavLMModel(WavLMConfig()).save_pretrained(folder)
        ours, theirs = (job(f"{who} float32", folder)() for who in ("ours", "transformers"))
        jobs = {name: Worker(__file__, name, folder) for name in NAMES}
        seconds, peaks = in_turns(jobs, rounds), {name: w.peak for name, w in jobs.items()}
        table("WavLM-base, 30 s", seconds, peaks)
        for worker in jobs.values():
            worker.close()
        apart = (ours - theirs.last_hidden_state).abs().max()
        print(f"\nLargest difference in float32: {apart:.1e}.")


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    if sys.argv[1:2] == ["--serve"]:
        serve(job(*sys.argv[2:]))
    else:
        main(*map(int, sys.argv[1:]))
