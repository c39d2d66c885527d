"""WavLM-base on 30 s beside transformers: same random weights, in turns.

By hand, on a quiet machine: python tests/bench/bench_wavlm.py [rounds]
"""

import logging
import sys
import tempfile

import torch
from measuring import THREADS, in_turns, peak_of, print_peak, table

SAMPLES = 30 * 16_000
WAVE = torch.randn(1, SAMPLES, generator=torch.Generator().manual_seed(0)) / 9
NAMES = ("ours float32", "ours bfloat16", "transformers float32", "transformers bfloat16")


def job(name, folder):
    """One forward of the model called so, from the files in `folder`."""
    who, dtype = name.split()
    if who == "ours":
        import speechlib as sl

        model = sl.load(folder, dtype=dtype)
        return torch.inference_mode()(lambda: model(WAVE))
    from transformers import WavLMModel

    model = WavLMModel.from_pretrained(folder).eval().to(getattr(torch, dtype))
    return torch.inference_mode()(lambda: model(WAVE.to(model.dtype)).last_hidden_state)


def main(rounds=5):
    """Prints the table."""
    from transformers import WavLMConfig, WavLMModel

    logging.getLogger("transformers").setLevel(logging.ERROR)
    print(f"WavLM-base, random weights; {THREADS} threads")
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        WavLMModel(WavLMConfig()).save_pretrained(folder)
        jobs = {name: job(name, folder) for name in NAMES}
        apart = (jobs["ours float32"]() - jobs["transformers float32"]()).abs().max()
        print(f"\nLargest difference in float32: {apart:.1e}")
        seconds = in_turns(jobs, rounds)
        peaks = {name: peak_of(__file__, name, folder) for name in NAMES}
        table("WavLM-base, 30 s", seconds, peaks)


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    if sys.argv[1:2] == ["--peak"]:
        print_peak(job(*sys.argv[2:]))
    else:
        main(*map(int, sys.argv[1:]))
