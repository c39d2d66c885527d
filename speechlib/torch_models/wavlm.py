"""WavLM (Chen et al. 2022, arXiv:2110.13900) and wav2vec 2.0 (Baevski et al. 2020).

input -> output: waveform (batch, samples) at 16 kHz -> (batch, frames, width), 20 ms a frame.
Special: convolutions listen to the raw waveform; a wide convolution tells places apart; attention
with a gated bias by distance (`gated_attention.py`). Without it (`buckets=0`): wav2vec 2.0.
With the group-norm front end ("base" models) padding changes the numbers of real frames, because
its norm counts silence in: the published models have this leak, so it is kept. Such models were
trained without lengths.

Notebook: 11_wavlm
"""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from speechlib import attention_masks, spec_augment
from speechlib.torch_models import inputs
from speechlib.torch_models.gated_attention import DistanceBias, GatedBlock
from speechlib.torch_models.transformer import Block, activation_named, is_dropped, run_block


class ConvLayer(nn.Module):
    """One convolution of the front end, a norm or none, and the activation."""

    def __init__(self, config, layer):
        super().__init__()
        width = config.conv_widths[layer]
        before = config.conv_widths[layer - 1] if layer else 1
        kernel, stride = config.conv_kernels[layer], config.conv_strides[layer]
        self.conv = nn.Conv1d(before, width, kernel, stride, bias=config.conv_bias)
        if config.conv_norm == "layer":
            self.norm = nn.LayerNorm(width)  # over the features of a frame
        elif layer == 0:
            self.norm = nn.GroupNorm(width, width)  # over the frames of a feature
        else:
            self.norm = None
        self.activation = activation_named(config.conv_activation)

    def forward(self, x):
        """(batch, features, frames) -> (batch, features, fewer frames)."""
        x = self.conv(x)
        if isinstance(self.norm, nn.LayerNorm):
            x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        elif self.norm is not None:
            x = self.norm(x)
        return self.activation(x)


class WaveformEncoder(nn.Module):
    """Waveform -> features: seven convolutions, 25 ms wide and 20 ms apart when all is done."""

    def __init__(self, config):
        super().__init__()
        self.layers = nn.ModuleList(ConvLayer(config, i) for i in range(len(config.conv_widths)))

    def forward(self, waveform):
        """(batch, samples) -> (batch, frames, features)."""
        x = waveform.unsqueeze(1)
        for layer in self.layers:
            x = layer(x)
        return x.transpose(1, 2)


class FeatureProjection(nn.Module):
    """Features of the front end -> the width of the blocks."""

    def __init__(self, config):
        super().__init__()
        self.norm = nn.LayerNorm(config.conv_widths[-1], config.block.norm_eps)
        self.linear = nn.Linear(config.conv_widths[-1], config.width)
        self.dropout = nn.Dropout(config.projection_dropout)

    def forward(self, x):
        """(batch, frames, features) -> (batch, frames, width)."""
        return self.dropout(self.linear(self.norm(x)))


class ConvPositions(nn.Module):
    """Where a frame stands, from what is around it: a convolution 2.5 s wide, in groups.

    Its weight is kept as a direction and a size for each place of the kernel (weight norm,
    Salimans & Kingma 2016).
    """

    def __init__(self, config):
        super().__init__()
        width, kernel, self.groups = config.width, config.position_kernel, config.position_groups
        self.direction = nn.Parameter(torch.empty(width, width // self.groups, kernel))
        self.size = nn.Parameter(torch.empty(1, 1, kernel))
        self.bias = nn.Parameter(torch.zeros(width))
        self.activation = activation_named(config.conv_activation)

    def forward(self, x):
        """(batch, frames, width) -> (batch, frames, width), to be added to x."""
        kernel = self.size.shape[-1]
        weight = self.direction * (self.size / self.measured())
        y = F.conv1d(x.transpose(1, 2), weight, self.bias, padding=kernel // 2, groups=self.groups)
        # an even kernel makes one frame too many
        return self.activation(y[:, :, : x.shape[1]].transpose(1, 2))

    def measured(self):
        """How long the direction is at each place of the kernel: (1, 1, kernel)."""
        return self.direction.norm(dim=(0, 1), keepdim=True)


class Adapter(nn.Module):
    """Convolutions that shorten the output, for a decoder that reads it; half of what each makes
    is a gate on the other half."""

    def __init__(self, config):
        super().__init__()
        width, self.layer_drop = config.output_width, config.layer_drop
        if width != config.width:
            self.projection, self.norm = nn.Linear(config.width, width), nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, 2 * width, config.adapter_kernel, config.adapter_stride, padding=1)
            for _ in range(config.adapter_layers)
        )

    def forward(self, x):
        """(batch, frames, width) -> (batch, fewer frames, output width)."""
        if hasattr(self, "projection"):
            x = self.norm(self.projection(x))
        x = x.transpose(1, 2)
        for conv in self.layers:
            if not is_dropped(self, self.layer_drop):
                x = F.glu(conv(x), dim=1)
        return x.transpose(1, 2)


class WavLM(nn.Module):
    """Waveform -> frames. With `config.buckets` of 0: wav2vec 2.0."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.front = WaveformEncoder(config)
        self.projection = FeatureProjection(config)
        augment = config.spec_augment
        if augment.time_probability > 0 or augment.feature_probability > 0:
            self.mask_embedding = nn.Parameter(torch.empty(config.width))  # stands in for frames
        self.positions = ConvPositions(config)
        self.norm = nn.LayerNorm(config.width, config.block.norm_eps)
        self.dropout = nn.Dropout(config.block.dropout)
        kind = GatedBlock if config.buckets else Block
        self.blocks = nn.ModuleList(kind(config.block) for _ in range(config.layers))
        if config.buckets:  # made in the first block, used in all of them
            self.blocks[0].self_attention.distance_bias = DistanceBias(
                config.buckets, config.block.heads, config.max_distance
            )
        self.adapter = Adapter(config) if config.adapter else None
        self.output_width = config.output_width
        self.checkpointing = False
        initialise(self)

    def forward(self, waveform, lengths=None):
        """(batch, samples), lengths (batch,) in samples or None -> (batch, frames, output width).

        Frames beyond a row's length are numbers without a meaning: `frame_mask` says which ones
        are real. Raises ValueError for other shapes, for numbers that are not finite, for lengths
        beyond the samples, and for audio shorter than one frame.
        """
        x = self.hidden_states(waveform, lengths)[-1]
        return x if self.adapter is None else self.adapter(x)

    def hidden_states(self, waveform, lengths=None, hidden=None):
        """What goes into the first block and what comes out of each, before the adapter: a list of
        layers + 1, each (batch, frames, width). With `norm_first` the last one is normed.

        hidden: (batch, frames) bool, the frames that SpecAugment hides; None: it draws them.
        """
        waveform, lengths = self.checked(waveform, lengths)
        x, mask = self._embedded(waveform, lengths, hidden)
        c, first = self.config, self.blocks[0].self_attention
        bias = first.distance_bias(x.shape[1]) if c.buckets else None
        states = [x]
        for layer, block in enumerate(self.blocks):
            makes_bias = layer == 0 and bias is not None
            if makes_bias or not is_dropped(self, c.layer_drop):
                x = run_block(self, block, x, mask, bias)
            states.append(x)
        if c.block.norm_first:
            states[-1] = self.norm(x)
        return states

    def _embedded(self, waveform, lengths, hidden):
        """-> the frames that go into the blocks, and who may look at whom."""
        x = self.projection(self.front(waveform))
        frames = self.frame_mask(lengths, x.shape[1], adapter=False)
        x = self._hidden_spans(x, frames, hidden)
        if frames is not None:
            x = x.masked_fill(~frames.unsqueeze(-1), 0.0)
        x = x + self.positions(x)
        if not self.config.block.norm_first:
            x = self.norm(x)
        return self.dropout(x), None if frames is None else attention_masks.for_keys(frames)

    def _hidden_spans(self, x, frames, hidden):
        """SpecAugment, while training: spans of frames become a learned vector, features 0."""
        c = self.config.spec_augment
        if hidden is not None and self.config.apply_spec_augment:  # then also in eval mode
            x = torch.where(hidden.unsqueeze(-1), self.mask_embedding.to(x.dtype), x)
        if not (self.training and self.config.apply_spec_augment):
            return x
        # One draw from torch seeds the spans, so torch.manual_seed alone repeats a training run.
        rng = np.random.default_rng(torch.randint(2**31, ()).item())
        batch, size, width = x.shape
        if c.time_probability > 0 and hidden is None:
            real = None if frames is None else frames.sum(dim=1).cpu().numpy()
            spans = spec_augment.span_mask(
                (batch, size), c.time_probability, c.time_length, real, c.time_min_spans, rng
            )
            spans = torch.from_numpy(spans).to(x.device).unsqueeze(-1)
            x = torch.where(spans, self.mask_embedding.to(x.dtype), x)
        if c.feature_probability > 0:
            spans = spec_augment.span_mask(
                (batch, width), c.feature_probability, c.feature_length, None, c.feature_min_spans,
                rng,
            )  # fmt: skip
            x = x.masked_fill(torch.from_numpy(spans).to(x.device).unsqueeze(1), 0.0)
        return x

    def output_lengths(self, lengths, adapter=True):
        """Samples -> frames that the model makes of them: a number, or an array (batch,) of any
        kind. adapter=False: frames inside the blocks."""
        kernels, strides = self._convolutions(adapter)
        return attention_masks.conv_output_lengths(lengths, kernels, strides)

    def frame_mask(self, lengths, frames, adapter=True):
        """lengths (batch,) in samples -> (batch, frames), True = heard in real samples alone; None
        for None. frames: how many the padded rows have."""
        if lengths is None:
            return None
        lengths = inputs.lengths(lengths, device=self.norm.weight.device)
        return attention_masks.frame_mask(lengths, frames, *self._convolutions(adapter))

    def _convolutions(self, adapter):
        """Kernels and strides that decide the number of frames. The adapter's convolutions count
        as if they were one frame wide: with the published width of 3 and padding of 1 it is the
        same."""
        c = self.config
        more = c.adapter_layers if adapter and c.adapter else 0
        return (*c.conv_kernels, *(1,) * more), (*c.conv_strides, *(c.adapter_stride,) * more)

    def checked(self, waveform, lengths=None):
        """The waveform in the model's number type, lengths as a tensor; ValueError for what cannot
        be heard."""
        waveform = inputs.waveform(waveform, self.norm.weight)
        if lengths is not None:
            lengths = inputs.lengths(lengths, *waveform.shape, waveform.device)
        shortest = waveform.shape[1] if lengths is None else int(lengths.min())
        if self.output_lengths(shortest, adapter=False) < 1:
            needed = 1
            for kernel, stride in zip(*map(reversed, self._convolutions(False)), strict=True):
                needed = (needed - 1) * stride + kernel
            raise ValueError(
                f"a recording must have at least {needed} samples, which one frame hears, got "
                f"{shortest}; pad it with zeros, or leave it out"
            )
        return waveform, lengths

    def freeze_feature_encoder(self):
        """Keeps the convolutions of the front end as they are while the rest is trained."""
        self.front.requires_grad_(False)

    @torch.no_grad()
    def reset_parameters(self):
        """The mask embedding of a checkpoint that has none stored."""
        if hasattr(self, "mask_embedding"):
            self.mask_embedding.uniform_()


@torch.no_grad()
def initialise(model):
    """Fresh weights as published, each kind of layer its own way."""
    if model.norm.weight.is_meta:
        return  # no memory: `load` fills it
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight.normal_(0.0, model.config.init_std)
            module.bias.zero_()
        elif isinstance(module, nn.Conv1d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                module.bias.uniform_(-1, 1).mul_(module.weight[0].numel() ** -0.5)
    linear = model.projection.linear
    for parameter in (linear.weight, linear.bias):
        parameter.uniform_(-1, 1).mul_(linear.in_features**-0.5)
    positions = model.positions
    positions.direction.normal_(0.0, 2 / math.sqrt(positions.size.numel() * model.config.width))
    positions.size.copy_(positions.measured())
    model.reset_parameters()
