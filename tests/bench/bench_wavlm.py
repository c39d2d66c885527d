"""WavLM-base on 30 s beside transformers: same random weights, in turns.

By hand, on a quiet machine: python tests/bench/bench_wavlm.py [rounds]
"""

import logging
import sys
import tempfile

import torch
from measuring import THREADS, in_turns, peak_of, print_peak, table
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
        jobs = {name: job(name, folder) for name in NAMES}
        ours, theirs = jobs["ours float32"](), jobs["transformers float32"]().last_hidden_state
        seconds = in_turns(jobs, rounds)
        peaks = {name: peak_of(__file__, name, folder) for name in NAMES}
        table("forward, 30 s", seconds, peaks)
        print(f"\nLargest difference in float32: {(ours - theirs).abs().max():.1e}.")


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    if sys.argv[1:2] == ["--peak"]:
        print_peak(job(*sys.argv[2:]))
    else:
        main(*map(int, sys.argv[1:]))
