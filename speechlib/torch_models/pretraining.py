"""Learning without labels, as wav2vec 2.0 does (Baevski et al. 2020, arXiv:2006.11477, section 3).

input -> output: waveform (batch, samples) -> what each hidden frame is thought to have been, and
what it was: (batch, frames, width) each.
Special: spans of frames are hidden; from what is around, the model has to tell the true code vector
of a hidden frame from those of other hidden frames. A second loss keeps all codes in use.

Notebook: 15_quantizer
"""

import numpy as np
import torch
from torch import nn

from speechlib import spec_augment
from speechlib.torch_models import inputs, losses
from speechlib.torch_models.quantizer import GumbelQuantizer


class PretrainingModel(nn.Module):
    """A listener and the quantiser that makes its own targets."""

    def __init__(self, encoder, config):
        super().__init__()
        if encoder.config.adapter or not hasattr(encoder, "mask_embedding"):
            raise ValueError(
                "pre-training needs a listener that hides frames (mask_time_prob above 0) and has "
                "no adapter (add_adapter false)"
            )
        self.encoder, self.config = encoder, config
        features, width = encoder.config.conv_widths[-1], encoder.output_width
        self.quantizer = GumbelQuantizer(
            features, config.groups, config.codes, config.codevector_dim
        )
        self.dropout = nn.Dropout(config.dropout)
        self.guess = nn.Linear(width, config.width)  # both as PyTorch makes them, as published
        self.target = nn.Linear(config.codevector_dim, config.width)

    def forward(self, waveform, lengths=None, hidden=None):
        """-> guesses and targets (batch, frames, width), and the perplexity of the codes.

        hidden: (batch, frames) bool, frames to hide; they alone count in the perplexity.
        """
        waveform, lengths = self.encoder.checked(waveform, lengths)
        features = self.encoder.projection.norm(self.encoder.front(waveform))
        if hidden is not None:
            hidden = inputs.as_tensor(hidden, "hidden (batch, frames)").to(features.device)
            if hidden.shape != features.shape[:2] or hidden.dtype != torch.bool:
                raise ValueError(
                    f"expected hidden (batch, frames) = {tuple(features.shape[:2])} of True and "
                    f"False, got {tuple(hidden.shape)} of {hidden.dtype}"
                )
        guesses = self.guess(self.encoder.hidden_states(waveform, lengths, hidden)[-1])
        vectors, perplexity = self.quantizer(self.dropout(features), hidden)
        return guesses, self.target(vectors), perplexity

    def loss(self, waveform, lengths=None, hidden=None, negatives=None):
        """Contrastive loss, summed over the hidden frames, and the weighted diversity loss.

        hidden, negatives: drawn where not given, seeded by torch; see `losses.sample_negatives`.
        """
        c, rng = self.config, np.random.default_rng(torch.randint(2**31, ()).item())
        if hidden is None:
            hidden = self._spans(waveform, lengths, rng)
        guesses, targets, perplexity = self(waveform, lengths, hidden)
        if negatives is None:
            negatives = losses.sample_negatives(hidden, c.negatives, rng)
        contrastive = losses.contrastive_loss(guesses, targets, hidden, negatives, c.temperature)
        spread = losses.diversity_loss(perplexity, c.groups * c.codes, np.sum(np.asarray(hidden)))
        return contrastive + c.diversity_weight * spread

    def _spans(self, waveform, lengths, rng):
        """(batch, frames) bool: spans as the listener's SpecAugment draws them."""
        encoder, augment = self.encoder, self.encoder.config.spec_augment
        waveform, lengths = encoder.checked(waveform, lengths)
        shape = len(waveform), encoder.output_lengths(waveform.shape[1])
        real = None if lengths is None else encoder.output_lengths(lengths).cpu().numpy()
        return spec_augment.span_mask(
            shape, augment.time_probability, augment.time_length, real, augment.time_min_spans, rng
        )
