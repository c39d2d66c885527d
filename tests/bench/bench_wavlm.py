"""Speed and memory of WavLM-base on 30 s beside transformers, same random weights, in turns.

Run by hand on a quiet machine: python tests/bench/bench_wavlm.py [rounds]
Prints the median and the quickest of each, how many times as long the others take as ours in
float32 and in bfloat16, and the peak memory of each in a process of its own.
"""

import statistics
import subprocess
import sys
import tempfile
import time

import torch

SAMPLES = 30 * 16_000
OURS = ("float32", "bfloat16")


def published(folder):
    """transformers' WavLM of the base size."""
    from transformers import WavLMModel

    return WavLMModel.from_pretrained(folder).eval()


def ours(folder, dtype):
    """Ours, from the same files."""
    import speechlib as sl

    return sl.load(folder, dtype=dtype)


def recording():
    """30 s of noise; what is in it makes no difference to the time."""
    return torch.randn(1, SAMPLES, generator=torch.Generator().manual_seed(0)) / 9


def measure(functions, rounds):
    """name -> seconds of each round; in turns, so that a busy moment meets all of them."""
    seconds = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn:  # the first turn fills caches
                seconds[name].append(time.perf_counter() - start)
    return seconds


def peak(folder, which):
    """Memory that one forward needs beyond the loaded model, in MB; in a process of its own."""
    text = subprocess.run(
        [sys.executable, __file__, "--peak", folder, which],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return float(text.split()[-1])


@torch.inference_mode()
def print_peak(folder, which):
    """Called in that process."""
    model = published(folder) if which == "transformers" else ours(folder, which)
    wave = recording()
    model(wave[:, :16_000])  # what the first call makes once
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak counts from here
    before = _status("VmRSS")
    model(wave)
    print(_status("VmHWM") - before)


def _status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name))


@torch.inference_mode()
def main(rounds=5):
    """Prints the table."""
    print(f"WavLM-base, 30 s, PyTorch threads: {torch.get_num_threads()}")
    with tempfile.TemporaryDirectory() as folder:
        from transformers import WavLMConfig, WavLMModel

        torch.manual_seed(0)
        WavLMModel(WavLMConfig()).save_pretrained(folder)
        theirs, wave = published(folder), recording()
        models = {f"ours, {dtype}": ours(folder, dtype) for dtype in OURS}
        difference = models["ours, float32"](wave) - theirs(wave).last_hidden_state
        print(f"  largest difference in float32: {difference.abs().max():.1e}")
        functions = {name: lambda m=model: m(wave) for name, model in models.items()}
        seconds = measure(functions | {"transformers": lambda: theirs(wave)}, rounds)
        base = statistics.median(seconds["transformers"])
        for name, values in seconds.items():
            median = statistics.median(values)
            print(
                f"  {name:16s} median {median:6.3f} s  quickest {min(values):6.3f} s"
                f"  {base / median:5.2f} x transformers"
            )
        for which in (*OURS, "transformers"):
            print(f"  {which:16s} peak memory of a forward {peak(folder, which):7.0f} MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        print_peak(*sys.argv[2:])
    else:
        main(*map(int, sys.argv[1:]))
