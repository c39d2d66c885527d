"""WavLM (Chen et al. 2022, arXiv:2110.13900) and wav2vec 2.0 (Baevski et al. 2020).

input -> output: waveform (batch, samples) at 16 kHz -> (batch, frames, width), 20 ms a frame.
Special: the mirror of `torch_models/wavlm.py`. Flax has the features last, so nothing is
transposed; a block that LayerDrop leaves out is computed and not taken; SpecAugment stays NumPy and
is called back from the compiled program, with a seed out of the model's random streams.

Notebook: 19_flax
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from speechlib import attention_masks, spec_augment
from speechlib.flax_models import inputs
from speechlib.flax_models.gated_attention import DistanceBias, GatedBlock
from speechlib.flax_models.transformer import (
    Block,
    activation_named,
    chosen,
    is_dropped,
    layer_norm,
)


class ConvLayer(nnx.Module):
    """One convolution of the front end, a norm or none, and the activation."""

    def __init__(self, config, layer, **how):
        width = config.conv_widths[layer]
        before = config.conv_widths[layer - 1] if layer else 1
        kernel, stride = config.conv_kernels[layer], config.conv_strides[layer]
        self.conv = nnx.Conv(
            before, width, kernel, stride, padding="VALID", use_bias=config.conv_bias, **how
        )
        if config.conv_norm == "layer":
            self.norm = layer_norm(width, **how)  # over the features of a frame
        elif layer == 0:  # over the frames of a feature
            self.norm = nnx.GroupNorm(width, width, epsilon=1e-5, use_fast_variance=False, **how)
        else:
            self.norm = None
        self.activation = activation_named(config.conv_activation)

    def __call__(self, x):
        """(batch, frames, features) -> (batch, fewer frames, features)."""
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return self.activation(x)


class WaveformEncoder(nnx.Module):
    """Waveform -> features: seven convolutions, 25 ms wide and 20 ms apart when all is done."""

    def __init__(self, config, **how):
        count = len(config.conv_widths)
        self.layers = nnx.List(ConvLayer(config, i, **how) for i in range(count))

    def __call__(self, waveform):
        """(batch, samples) -> (batch, frames, features)."""
        x = waveform[:, :, None]
        for layer in self.layers:
            x = layer(x)
        return x


class FeatureProjection(nnx.Module):
    """Features of the front end -> the width of the blocks."""

    def __init__(self, config, **how):
        self.norm = layer_norm(config.conv_widths[-1], config.block.norm_eps, **how)
        self.linear = nnx.Linear(config.conv_widths[-1], config.width, **how)
        self.dropout = nnx.Dropout(config.projection_dropout, rngs=how["rngs"])

    def __call__(self, x):
        """(batch, frames, features) -> (batch, frames, width)."""
        return self.dropout(self.linear(self.norm(x)))


class ConvPositions(nnx.Module):
    """Where a frame stands, from what is around it: a convolution 2.5 s wide, in groups.

    Its weight is kept as a direction and a size for each place of the kernel (weight norm,
    Salimans & Kingma 2016).
    """

    def __init__(self, config, **how):
        width, kernel, self.groups = config.width, config.position_kernel, config.position_groups
        kind = how["param_dtype"]
        # laid out as in PyTorch: (features, features of a group, places)
        self.direction = nnx.Param(jnp.zeros((width, width // self.groups, kernel), kind))
        self.size = nnx.Param(jnp.zeros((1, 1, kernel), kind))
        self.bias = nnx.Param(jnp.zeros((width,), kind))
        self.activation = activation_named(config.conv_activation)

    def __call__(self, x):
        """(batch, frames, width) -> (batch, frames, width), to be added to x."""
        pad, direction = self.size.shape[-1] // 2, self.direction[...]
        norm = jnp.linalg.norm(direction, axis=(0, 1), keepdims=True)
        weight = direction * (self.size[...] / norm)
        y = jax.lax.conv_general_dilated(
            x,
            weight.astype(x.dtype),
            (1,),
            [(pad, pad)],
            dimension_numbers=("NTC", "OIT", "NTC"),
            feature_group_count=self.groups,
        )
        # an even kernel makes one frame too many
        return self.activation(y[:, : x.shape[1]] + self.bias[...].astype(x.dtype))


class Adapter(nnx.Module):
    """Convolutions that shorten the output, for a decoder that reads it; half of what each makes
    is a gate on the other half. None is ever dropped: that would be another number of frames."""

    def __init__(self, config, **how):
        width = config.output_width
        if width != config.width:
            self.projection = nnx.Linear(config.width, width, **how)
            self.norm = layer_norm(width, **how)
        kernel, stride = config.adapter_kernel, config.adapter_stride
        self.layers = nnx.List(
            nnx.Conv(width, 2 * width, kernel, stride, padding=[(1, 1)], **how)
            for _ in range(config.adapter_layers)
        )

    def __call__(self, x):
        """(batch, frames, width) -> (batch, fewer frames, output width)."""
        if hasattr(self, "projection"):
            x = self.norm(self.projection(x))
        for conv in self.layers:
            x = jax.nn.glu(conv(x))
        return x


class WavLM(nnx.Module):
    """Waveform -> frames. With `config.buckets` of 0: wav2vec 2.0."""

    def __init__(self, config, rngs, dtype=None, param_dtype=jnp.float32):
        how = {"rngs": rngs, "dtype": dtype, "param_dtype": param_dtype}
        self.config, self.dtype, self.deterministic = config, dtype, False
        self.rngs = rngs.dropout.fork()  # for LayerDrop and SpecAugment
        self.front = WaveformEncoder(config, **how)
        self.projection = FeatureProjection(config, **how)
        augment = config.spec_augment
        if augment.time_probability > 0 or augment.feature_probability > 0:
            # stands in for frames
            self.mask_embedding = nnx.Param(jnp.zeros((config.width,), param_dtype))
        self.positions = ConvPositions(config, **how)
        self.norm = layer_norm(config.width, config.block.norm_eps, **how)
        self.dropout = nnx.Dropout(config.block.dropout, rngs=rngs)
        kind = GatedBlock if config.buckets else Block
        self.blocks = nnx.List(kind(config.block, **how) for _ in range(config.layers))
        if config.buckets:  # made in the first block, used in all of them
            self.blocks[0].self_attention.distance_bias = DistanceBias(
                config.buckets, config.block.heads, config.max_distance, **how
            )
        self.adapter = Adapter(config, **how) if config.adapter else None
        self.output_width = config.output_width
        self.frozen = False
        initialise(self, rngs)

    def __call__(self, waveform, lengths=None):
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
            dropped = not makes_bias and is_dropped(self, c.layer_drop)
            x = chosen(dropped, x, block(x, mask, bias))
            states.append(x)
        if c.block.norm_first:
            states[-1] = self.norm(x)
        return states

    def _embedded(self, waveform, lengths, hidden):
        """-> the frames that go into the blocks, and who may look at whom."""
        x = self.front(waveform)
        x = self.projection(jax.lax.stop_gradient(x) if self.frozen else x)
        frames = self.frame_mask(lengths, x.shape[1], adapter=False)
        x = self._hidden_spans(x, frames, hidden)
        if frames is not None:
            x = jnp.where(frames[:, :, None], x, 0.0)
        x = x + self.positions(x)
        if not self.config.block.norm_first:
            x = self.norm(x)
        return self.dropout(x), None if frames is None else attention_masks.for_keys(frames)

    def _hidden_spans(self, x, frames, hidden):
        """SpecAugment, while training: spans of frames become a learned vector, features 0."""
        c = self.config.spec_augment
        if hidden is not None and self.config.apply_spec_augment:  # then also in eval mode
            x = jnp.where(hidden[:, :, None], self.mask_embedding[...].astype(x.dtype), x)
        if self.deterministic or not self.config.apply_spec_augment:
            return x
        batch, size, width = x.shape
        if c.time_probability > 0 and hidden is None:
            settings = c.time_probability, c.time_length, c.time_min_spans
            spans = self._spans((batch, size), *settings, frames)[:, :, None]
            x = jnp.where(spans, self.mask_embedding[...].astype(x.dtype), x)
        if c.feature_probability > 0:
            settings = c.feature_probability, c.feature_length, c.feature_min_spans
            x = jnp.where(self._spans((batch, width), *settings)[:, None], 0.0, x)
        return x

    def _spans(self, shape, probability, length, min_spans, real=None):
        """(batch, size) bool. The seed comes out of the random stream, so the same key hides the
        same spans."""

        def draw(seed, real):
            rng = np.random.default_rng(int(seed))
            lengths = None if real is None else np.asarray(real).sum(axis=1)
            return spec_augment.span_mask(shape, probability, length, lengths, min_spans, rng)

        seed = jax.random.bits(self.rngs())
        return jax.pure_callback(draw, jax.ShapeDtypeStruct(shape, bool), seed, real)

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
        lengths = inputs.lengths(lengths)
        return attention_masks.frame_mask(lengths, frames, *self._convolutions(adapter))

    def _convolutions(self, adapter):
        """Kernels and strides that decide the number of frames. The adapter's convolutions count
        as if they were one frame wide: with the published width of 3 and padding of 1 it is the
        same."""
        c = self.config
        more = c.adapter_layers if adapter and c.adapter else 0
        return (*c.conv_kernels, *(1,) * more), (*c.conv_strides, *(c.adapter_stride,) * more)

    def checked(self, waveform, lengths=None):
        """The waveform in the number type that is computed in, lengths as an array; ValueError for
        what cannot be heard."""
        waveform = inputs.waveform(waveform, self.dtype)
        if lengths is not None:
            lengths = inputs.lengths(lengths, *waveform.shape)
        given = lengths is not None and inputs.known(lengths)
        shortest = int(lengths.min()) if given else waveform.shape[1]
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
        """Keeps the convolutions of the front end as they are while the rest is trained: their
        gradients are 0. (An optimiser that shrinks all weights needs to be told apart.)"""
        self.frozen = True

    def reset_parameters(self, rngs):
        """The mask embedding of a checkpoint that has none stored."""
        if hasattr(self, "mask_embedding"):
            mask = self.mask_embedding
            mask.set_value(jax.random.uniform(rngs.params(), mask.shape, mask.dtype))


def initialise(model, rngs):
    """Fresh weights as published, each kind of layer its own way."""

    def normal(variable, spread):
        draw = jax.random.normal(rngs.params(), variable.shape, variable.dtype)
        variable.set_value(spread * draw)

    def uniform(variable, spread):
        draw = jax.random.uniform(rngs.params(), variable.shape, variable.dtype, -1, 1)
        variable.set_value(spread * draw)

    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Linear):
            normal(module.kernel, model.config.init_std)
            module.bias.set_value(jnp.zeros_like(module.bias.get_value()))
        elif isinstance(module, nnx.Conv):
            heard = math.prod(module.kernel.shape[:-1])
            normal(module.kernel, math.sqrt(2 / heard))
            if module.bias is not None:
                uniform(module.bias, heard**-0.5)
    linear, positions = model.projection.linear, model.positions
    for parameter in (linear.kernel, linear.bias):
        uniform(parameter, linear.in_features**-0.5)
    normal(positions.direction, 2 / math.sqrt(positions.size.size * model.config.width))
    direction = positions.direction[...]
    positions.size.set_value(jnp.linalg.norm(direction, axis=(0, 1), keepdims=True))
    if model.config.buckets:
        table = model.blocks[0].self_attention.distance_bias.embedding
        normal(table, 1.0)  # as PyTorch fills every table
    model.reset_parameters(rngs)
