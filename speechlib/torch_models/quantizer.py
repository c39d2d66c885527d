"""Gumbel vector quantiser of wav2vec 2.0 (Baevski et al. 2020, arXiv:2006.11477, section 2; Gumbel
softmax: Jang et al. 2017, arXiv:1611.01144).

input -> output: (batch, frames, features) -> one code vector a group, side by side
(batch, frames, codevector_dim), and the perplexity of the codes' use.
Special: choosing has no gradient. While training the choice is drawn (scores + Gumbel noise), and
the gradient goes *straight through* it as if the soft distribution had been used.

Notebook: 15_quantizer
"""

import torch
from torch import nn

from speechlib.torch_models import inputs


class GumbelQuantizer(nn.Module):
    """`groups` codebooks of `codes` vectors each; every frame takes one vector from each book.

    features: of a frame that comes in (512 in wav2vec 2.0, as the convolutions make them).
    codevector_dim: features that go out, `codevector_dim / groups` from each book.
    temperature: of the draws; training lowers it, by setting the attribute, from 2 towards 0.5.
    """

    def __init__(self, features, groups=2, codes=320, codevector_dim=256, temperature=2.0):
        super().__init__()
        if min(features, groups, codes, codevector_dim) < 1:
            raise ValueError("features, groups, codes and codevector_dim must be at least 1")
        if codevector_dim % groups:
            raise ValueError(
                f"codevector_dim {codevector_dim} is not divisible by groups {groups}: every group "
                "gives codevector_dim / groups of the features"
            )
        self.groups, self.codes, self.temperature = groups, codes, temperature
        self.codevectors = nn.Parameter(torch.empty(1, groups * codes, codevector_dim // groups))
        self.scores = nn.Linear(features, groups * codes)
        self.initialise()

    @torch.no_grad()
    def initialise(self):
        """Fresh weights as published: code vectors uniform in 0 to 1, scores normal."""
        self.codevectors.uniform_()
        self.scores.weight.normal_()
        self.scores.bias.zero_()

    def forward(self, x, mask=None):
        """(batch, frames, features) -> (batch, frames, codevector_dim), perplexity ().

        mask: (batch, frames) bool, the frames that the perplexity counts; None: all of them.
        """
        x = inputs.numbers(x, "features (batch, frames, features)", self.scores.weight)
        if x.dim() != 3 or x.shape[2] != self.scores.in_features:
            raise ValueError(
                f"expected features of shape (batch, frames, {self.scores.in_features}), got "
                f"{tuple(x.shape)}"
            )
        scores = self.scores(x).unflatten(-1, (self.groups, self.codes))
        chosen = self._drawn(scores) if self.training else _one_hot(scores)
        books = self.codevectors.view(self.groups, self.codes, -1)
        vectors = torch.einsum("btgc,gcw->btgw", chosen, books).flatten(2)
        used = scores.float().softmax(-1) if self.training else chosen
        return vectors, perplexity(used, mask)

    def _drawn(self, scores):
        """One-hot (batch, frames, group, code): a draw with the probabilities softmax(scores)."""
        scores = scores.float()
        noise = -torch.empty_like(scores).exponential_().log()  # Gumbel: the largest sum is a draw
        soft = ((scores + noise) / self.temperature).softmax(-1)
        return (_one_hot(soft) - soft.detach() + soft).to(self.codevectors.dtype)


def _one_hot(scores):
    return torch.zeros_like(scores).scatter_(-1, scores.argmax(-1, keepdim=True), 1.0)


def perplexity(used, mask=None):
    """As how many equally used codes is this? Summed over groups: from `groups` to all codes.

    used: (batch, frames, group, code), each frame's shares; mask: (batch, frames), frames to count.
    """
    used = used.flatten(0, 1) if mask is None else used[inputs.as_tensor(mask, "mask").bool()]
    mean = used.mean(0)
    return (-(mean * (mean + 1e-7).log()).sum(-1)).exp().sum()
