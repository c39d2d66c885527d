"""What the benchmarks share: taking turns, peak memory in a process of its own, tables."""

import os
import statistics
import subprocess
import sys
import time

THREADS = min(2, os.cpu_count() or 1)
PAUSE = 0.3  # seconds; OpenMP's threads wait for 0.2


def in_turns(functions, rounds, times=1):
    """name -> seconds of each round. Functions take turns, so that a busy moment of the machine
    meets all of them; the first turn, which fills caches, does not count. Between turns a moment
    passes: threads of the last function stop to wait for work (they do it at full speed).

    times: runs a turn, of which the mean counts, for what is over before a processor is awake.
    """
    seconds = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            time.sleep(PAUSE)
            if times > 1:
                function()
            start = time.perf_counter()
            for _ in range(times):
                function()
            if turn:
                seconds[name].append((time.perf_counter() - start) / times)
    return seconds


def table(title, seconds, peaks=None, unit=1.0):
    """Prints a Markdown table: median, quickest, how many times as long as our float32, peak.

    seconds: name -> list; the names that start with "ours" are ours, the first of them is what the
    others are compared with. peaks: name -> MB; unit: what one run makes (100 tokens: 100). In the
    last column but one, above 1 is quicker than all others.
    """
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ours = next(name for name in seconds if name.startswith("ours"))
    others = {name: m for name, m in medians.items() if not name.startswith("ours")}
    exact = {name: m for name, m in others.items() if "float32" in name} or others
    best = min(exact.values(), default=None)
    print(f"\n### {title}\n")
    print("| | median, ms | quickest, ms | time / ours | best other float32 / this | peak, MB |")
    print("|---|---|---|---|---|---|")
    for name, values in seconds.items():
        median, quickest = (1e3 * x / unit for x in (medians[name], min(values)))
        peak = "" if not peaks or name not in peaks else f"{peaks[name]:.0f}"
        against = "" if best is None else f"{best / medians[name]:.2f}"
        print(
            f"| {name} | {median:.3f} | {quickest:.3f} | {medians[name] / medians[ours]:.2f} | "
            f"{against} | {peak} |",
            flush=True,
        )


def peak_of(file, *arguments):
    """MB that one run needs beyond what is loaded: `file --peak arguments` in a process of its own
    prints it (see `print_peak`)."""
    done = subprocess.run(
        [sys.executable, file, "--peak", *arguments], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{file} --peak {' '.join(arguments)}:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def print_peak(function):
    """Called in that process."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak counts from here
    before = _status("VmRSS")
    function()
    print(_status("VmHWM") - before)


def _status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name))
