"""Several processes that train one model together, started by `torchrun`; or just this one.

input -> output: each process' tensors -> their sums, in every process.
Special: alone, every method does nothing; `training.py` needs no second path.
"""

import os

import torch
import torch.distributed as dist


class Processes:
    """How many there are, which one this is, and what they tell each other.

    shares: batches of a step; every process must get the same number of them.
    Used in a `with` block, which leaves the group that it has joined.
    """

    def __init__(self, shares):
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if shares % self.count:
            raise ValueError(
                f"{shares} batches a step cannot be dealt evenly to {self.count} processes; "
                f"give Plan(accumulate=...) a multiple of {self.count}"
            )
        self._joined = False

    def __enter__(self):
        if self.count > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
            self._joined = True
        return self

    def __exit__(self, *error):
        if self._joined:
            dist.destroy_process_group()

    def device(self, model):
        """Where this process computes: its own GPU, or where the model is."""
        if self.count > 1 and torch.cuda.is_available():
            return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        return next(model.parameters()).device

    def add_up(self, tensors):
        """Every tensor becomes the sum over all processes, in place; one message in all."""
        if self.count > 1:
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            dist.all_reduce(flat)
            parts = flat.split([tensor.numel() for tensor in tensors])
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def wait(self):
        """Until every process has come here."""
        if self.count > 1:
            dist.barrier()
