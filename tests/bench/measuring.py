"""What the benchmarks share: taking turns, jobs in processes of their own, tables."""

import json
import os
import statistics
import subprocess
import sys
import time

THREADS = min(2, os.cpu_count() or 1)
MARK = "measured: "
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
                told = function()
            taken = told if isinstance(function, Worker) else time.perf_counter() - start
            if turn:
                seconds[name].append(taken / times)
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


class Worker:
    """A job in a process of its own, called like a function: libraries that bring their own threads
    slow each other down in one process. `file --serve arguments` runs it (see `serve`)."""

    def __init__(self, file, *arguments):
        command = [sys.executable, file, "--serve", *arguments]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        first = json.loads(self._answer())
        self.peak, self.result = first["peak"], first["result"]  # MB; what the first run returned

    def _answer(self):
        line = self.process.stdout.readline()
        while line and not line.startswith(MARK):  # libraries print things, too
            line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")
        return line.removeprefix(MARK)

    def __call__(self):
        """Runs it once -> seconds."""
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        return float(self._answer())

    def close(self):
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()


def serve(function):
    """Called in that process: the first run says what memory it needs beyond what is loaded."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak counts from here
    before = _status("VmRSS")
    result = function()
    first = {"peak": _status("VmHWM") - before, "result": result if type(result) is list else None}
    print(f"{MARK}{json.dumps(first)}", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        function()
        print(f"{MARK}{time.perf_counter() - start}", flush=True)


def _status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name))
