"""One small trainer: batches in, a trained model out, and nothing lost on the way.

input -> output: a model with `.loss(...)` and a function step -> batch -> the model,
trained in place, and a folder with `log.csv` and the state to go on from.
Special: batch number i is always the same, and the state holds the optimiser and the random
numbers; so a run that was killed goes on exactly where its last saved state was.

Schedule: warm-up, constant, linear decay to zero (Hagele et al. 2024); AdamW (Loshchilov and
Hutter 2019).
"""

import csv
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from speechlib import paths


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how fast to train."""

    steps: int
    rate: float = 1e-3  # learning rate between warm-up and decay
    warmup: int = 300  # steps
    decay: float = 0.3  # the last share of the steps
    weight_decay: float = 0.05
    clip: float = 1.0  # largest norm of all gradients together
    seed: int = 0
    evaluate_every: int = 500  # steps
    save_every: int = 250  # steps
    bfloat16: bool = True  # matrix products in bfloat16, weights in float32

    def rate_at(self, step):
        """Learning rate of a step, counted from 0."""
        decay_from = self.steps * (1 - self.decay)
        up = min(1.0, (step + 1) / self.warmup)
        down = min(1.0, (self.steps - step) / max(1.0, self.steps - decay_from))
        return self.rate * min(up, down)


def train(model, batch_at, plan, folder, evaluate=None, progress=True):
    """Trains the model in place; returns the log as a list of dicts.

    batch_at(step) -> tensors that `model.loss` takes; the same step always gives the same batch.
    folder: log.csv and state.pt are kept here; a state found here is gone on from.
    evaluate(model) -> dict of numbers, called every `plan.evaluate_every` steps and at the end.
    """
    from tqdm import tqdm

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    optimizer = _optimizer(model, plan)
    start, log = _resume(folder / "state.pt", model, optimizer)
    steps = range(start, plan.steps)
    bar = tqdm(steps, initial=start, total=plan.steps, disable=None if progress else True)
    for step in bar:
        loss = _step(model, optimizer, batch_at(step), plan, step)
        row = {"step": step + 1, "loss": round(loss, 5), "rate": plan.rate_at(step)}
        last = step + 1 == plan.steps
        if evaluate and (last or (step + 1) % plan.evaluate_every == 0):
            model.eval()
            row |= evaluate(model)
            bar.write("  ".join(f"{k} {v:.4g}" for k, v in row.items()))
        log.append(row)
        bar.set_postfix(loss=f"{loss:.3f}")
        if last or (step + 1) % plan.save_every == 0:
            _save(folder, model, optimizer, log, plan)
    model.eval()
    return log


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


def _step(model, optimizer, batch, plan, step):
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = plan.rate_at(step)
    device = next(model.parameters()).device
    parts = [part.to(device) for part in batch]
    with torch.autocast(device.type, torch.bfloat16, enabled=plan.bfloat16):
        loss = model.loss(*parts)
    value = loss.item()
    if value != value:
        raise ValueError(f"the loss is not a number at step {step}; lower the rate {plan.rate}")
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
    optimizer.step()
    return value


def _save(folder, model, optimizer, log, plan):
    """The state is written beside its place and moved there whole: a kill leaves the old one."""
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
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


def _resume(path, model, optimizer):
    """-> (next step, log so far); (0, []) where there is no state."""
    if not path.is_file():
        return 0, []
    state = torch.load(path, map_location="cpu", weights_only=True)
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise ValueError(
            f"{path} is the state of another model; give another folder or remove it"
        ) from error
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    return len(state["log"]), state["log"]
