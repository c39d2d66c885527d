"""One small trainer: batches in, a trained model out, and nothing lost on the way.

input -> output: a model with `.loss(...)` and a function number -> batch -> the model,
trained in place, and a folder with `log.csv` and the state to go on from.
Special: batch number i is always the same and is always met with the same random numbers, so a
run that was killed goes on exactly where its last saved state was, and a step that is dealt to
several processes (`torchrun`) has the same loss as one that a single process takes alone.

Schedule: warm-up, constant, linear decay to zero (Hagele et al. 2024); AdamW (Loshchilov and
Hutter 2019).
"""

import csv
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from speechlib import paths
from speechlib.processes import Processes

# entries of a plan that a run may change where it goes on, and those while it has steps to go
FREE = ("evaluate_every", "save_every", "watch", "patience")
OPEN = (*FREE, "steps", "rate", "decay")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how fast to train."""

    steps: int
    rate: float = 1e-3  # learning rate between warm-up and decay
    warmup: int = 300  # steps
    decay: float = 0.3  # the last share of the steps
    weight_decay: float = 0.05
    clip: float = 1.0  # largest norm of all gradients together
    accumulate: int = 1  # batches a step; their losses and gradients are averaged
    seed: int = 0
    evaluate_every: int = 500  # steps
    save_every: int = 250  # steps
    watch: str | None = None  # what to stop for: a number of `evaluate`, smaller is better
    patience: int = 5  # evaluations without a better one before it stops; needs `watch`
    bfloat16: bool = True  # matrix products in bfloat16, weights in float32

    def __post_init__(self):
        for name in ("steps", "warmup", "accumulate", "evaluate_every", "save_every", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay is a share of the steps, 0 to 1, got {self.decay}")

    @classmethod
    def of(cls, args, **more):
        """The plan of what was typed, which has steps, rate, decay and seed; more: the rest."""
        return cls(steps=args.steps, rate=args.rate, decay=args.decay, seed=args.seed, **more)

    @property
    def decay_from(self):
        """The step from which the rate falls; not always a whole number."""
        return self.steps * (1 - self.decay)

    def rate_at(self, step):
        """Learning rate of a step, counted from 0."""
        up = min(1.0, (step + 1) / self.warmup)
        down = min(1.0, (self.steps - step) / max(1.0, self.steps - self.decay_from))
        return self.rate * min(up, down)


def train(model, batch_at, plan, folder, evaluate=None, progress=True, on_row=None):
    """Trains the model in place; returns the log as a list of dicts, one a step.

    batch_at(number) -> tensors that `model.loss` takes; the same number always gives the same
        batch; step s takes the batches s * plan.accumulate and those after it.
    folder: log.csv and state.pt are kept here; a state found here is gone on from, with more steps
        or another rate or decay if the plan says so.
    evaluate(model) -> dict of numbers, called every `plan.evaluate_every` steps and at the end.
    on_row(row): called with each new line of the log; `speechlib.viz.LiveCurves` is one.
    progress: a bar, and a line for each evaluation; False: nothing is printed.
    With `plan.watch` the model ends with its best weights (also in best.pt), and stops when
    `plan.patience` evaluations brought nothing better.
    Started by torchrun, every process takes its share of the batches and all return the same. They
    must come with equal models and see one folder.
    Raises ValueError for a state of another model or another plan, a loss that is not a number, and
    batches that cannot be dealt evenly.
    """
    from tqdm import tqdm

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with Processes(plan.accumulate) as processes:
        model.to(processes.device(model))
        optimizer = _optimizer(model, plan)
        start, log = _resume(folder / "state.pt", model, optimizer, plan)
        hidden = True if processes.rank or not progress else None
        bar = tqdm(range(start, plan.steps), initial=start, total=plan.steps, disable=hidden)
        for step in bar:
            if _stale(log, plan):
                if not hidden:
                    bar.write(f"stopped: no better {plan.watch} in {plan.patience} evaluations")
                if processes.rank == 0:
                    _save(folder, model, optimizer, log, plan)
                break
            loss = _step(model, optimizer, batch_at, plan, step, processes)
            row = {"step": step + 1, "loss": round(loss, 5), "rate": plan.rate_at(step)}
            last = step + 1 == plan.steps
            if evaluate and (last or (step + 1) % plan.evaluate_every == 0):
                row |= _evaluated(model, evaluate, plan, log, folder, processes)
                if not hidden:
                    bar.write("  ".join(f"{k} {v:.4g}" for k, v in row.items()))
            log.append(row)
            bar.set_postfix(loss=f"{loss:.3f}")
            if processes.rank == 0 and on_row is not None:
                on_row(row)
            if processes.rank == 0 and (last or (step + 1) % plan.save_every == 0):
                _save(folder, model, optimizer, log, plan)
        processes.wait()  # until the best weights are written
        if plan.watch and (folder / "best.pt").is_file():
            best = torch.load(folder / "best.pt", map_location="cpu", weights_only=True)
            model.load_state_dict(best)
    model.eval()
    return log


def _evaluated(model, evaluate, plan, log, folder, processes):
    """What `evaluate` finds (every process finds the same); the best weights are kept."""
    model.eval()
    found = evaluate(model)
    if plan.watch is not None:
        if plan.watch not in found:
            raise ValueError(f"watch={plan.watch!r}, but evaluate gives {', '.join(found)}")
        earlier = [row[plan.watch] for row in log if plan.watch in row]
        if processes.rank == 0 and found[plan.watch] < min(earlier, default=float("inf")):
            paths.write_whole(
                folder / "best.pt", lambda path: torch.save(model.state_dict(), path)
            )
    return found


def _stale(log, plan):
    """True when the last `patience` evaluations were not better than the best before them."""
    found = [row[plan.watch] for row in log if plan.watch in row]
    if len(found) <= plan.patience:
        return False
    return min(found[-plan.patience :]) >= min(found[: -plan.patience])


def _optimizer(model, plan):
    """AdamW; norms, biases and tables are not pulled towards zero."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.dim() > 1], "weight_decay": plan.weight_decay},
            {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=plan.rate,
        betas=(0.9, 0.98),
        fused=True,
    )


def _step(model, optimizer, batch_at, plan, step, processes):
    """One update of the weights; returns the mean loss of its batches."""
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = plan.rate_at(step)
    optimizer.zero_grad()
    device = next(model.parameters()).device
    total = torch.zeros((), device=device)
    first = step * plan.accumulate
    for number in range(first + processes.rank, first + plan.accumulate, processes.count):
        parts = [part.to(device) if torch.is_tensor(part) else part for part in batch_at(number)]
        torch.manual_seed(plan.seed * 1_000_003 + number)  # dropout goes by the batch, not by time
        half = torch.autocast(device.type, torch.bfloat16) if plan.bfloat16 else nullcontext()
        with half:
            loss = model.loss(*parts) / plan.accumulate
        loss.backward()
        total += loss.detach()
    trained = [p for p in model.parameters() if p.requires_grad]
    for p in trained:
        if p.grad is None:  # LayerDrop left it out here; in another process perhaps not
            p.grad = torch.zeros_like(p)
    processes.add_up([total, *(p.grad for p in trained)])
    value = total.item()
    if value != value:
        raise ValueError(f"the loss is not a number at step {step}; lower the rate {plan.rate}")
    torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
    optimizer.step()
    return value


def _save(folder, model, optimizer, log, plan):
    """The state is written beside its place and moved there whole: a kill leaves the old one."""
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "log": log,
        "plan": asdict(plan),
    }
    paths.write_whole(folder / "state.pt", lambda path: torch.save(state, path))
    names = list(dict.fromkeys(name for row in log for name in row))

    def write_log(path):
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(log)

    paths.write_whole(folder / "log.csv", write_log)


def _resume(path, model, optimizer, plan):
    """-> (next step, log so far); (0, []) where there is no state."""
    if not path.is_file():
        return 0, []
    state = torch.load(path, map_location="cpu", weights_only=True)
    done, before, asked = len(state["log"]), state["plan"], asdict(plan)
    fixed = asked.keys() - set(OPEN if done < plan.steps else FREE)
    if other := sorted(name for name in fixed if before[name] != asked[name]):
        was, now = (", ".join(f"{name} {of[name]}" for name in other) for of in (before, asked))
        raise ValueError(
            f"{path} is the state of a run with {was}, after {done} steps; this plan has {now}: "
            "give another folder, or remove that one"
        )
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise ValueError(
            f"{path} is the state of another model; give another folder or remove it"
        ) from error
    optimizer.load_state_dict(state["optimizer"])
    return len(state["log"]), state["log"]
