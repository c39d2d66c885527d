"""Rows of tokens of unequal length -> labels that a loss takes: (batch, tokens) int64."""

import torch

IGNORED = -100  # what no loss counts, as in PyTorch


def padded_labels(rows):
    """Lists of token ids, one a row -> (batch, tokens); what a row has not is IGNORED."""
    longest = max(map(len, rows))
    return torch.tensor([row + [IGNORED] * (longest - len(row)) for row in rows])
