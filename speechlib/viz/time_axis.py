"""One clock for everything that is drawn or heard: frame numbers <-> seconds, counted in samples.

Frame number -> seconds. A frame has a centre, a hop to the next frame, and a support: the stretch
of samples it is computed from. Models frame the same sound differently (Whisper centres its
windows on the hop, WavLM does not), so frames of two models may only be compared in seconds.
Notebook: 00_start_here
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TimeAxis:
    """Where the frames of one representation lie in time.

    hop: samples from one frame to the next. first: centre of frame 0 in samples.
    support: samples that one frame is computed from. rate: samples per second.
    """

    hop: int
    first: float = 0.0
    support: int = 0
    rate: int = 16000

    @property
    def hop_s(self):
        """Seconds from one frame to the next."""
        return self.hop / self.rate

    def seconds(self, frame):
        """Centre of a frame, or of an array of frames, in seconds."""
        return (self.first + np.asarray(frame, dtype=float) * self.hop) / self.rate

    def frame(self, seconds):
        """Number of the frame whose centre is nearest to this time (never below 0)."""
        nearest = np.rint((np.asarray(seconds, dtype=float) * self.rate - self.first) / self.hop)
        nearest = np.maximum(nearest, 0).astype(int)
        return int(nearest) if nearest.ndim == 0 else nearest

    def edges(self, frames):
        """(frames + 1,) seconds: borders half a hop around each centre, for drawing."""
        return self.seconds(np.arange(frames + 1) - 0.5)

    def support_s(self, frame):
        """(start, end) in seconds of the samples that a frame is computed from."""
        half = self.support / 2 / self.rate
        centre = float(self.seconds(frame))
        return centre - half, centre + half


SAMPLES = TimeAxis(hop=1, support=1)
# Whisper's mel: windows of 400 samples centred on every 160th sample.
WHISPER_MEL = TimeAxis(hop=160, support=400)
# Two convolutions of kernel 3, the second with stride 2: mel frames 2t-2 … 2t+2 make frame t.
WHISPER_ENCODER = TimeAxis(hop=320, support=400 + 4 * 160)
# Seven convolutions, 400 samples of support, 320 of stride, no padding: frame 0 is centred at 200.
WAVLM_ENCODER = TimeAxis(hop=320, first=199.5, support=400)
