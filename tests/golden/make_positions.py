"""Makes positions.npz: what transformers 4.46.3 answers for sinusoids, positions and buckets.

Run with an interpreter that has transformers 4.46.3: python tests/golden/make_positions.py
"""

from pathlib import Path

import numpy as np
import torch
import transformers
from transformers.models.deprecated.speech_to_text_2.modeling_speech_to_text_2 import (
    Speech2Text2SinusoidalPositionalEmbedding,
)
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

assert transformers.__version__ == "4.46.3", transformers.__version__

TOKENS = np.array(
    [[5, 6, 7, 8, 9], [5, 6, 7, 1, 1], [1, 1, 5, 6, 7], [5, 1, 6, 1, 7], [1, 1, 1, 1, 1]]
)
golden = {"tokens": TOKENS.astype(np.int16)}

table = Speech2Text2SinusoidalPositionalEmbedding(10, 16, padding_idx=1)
golden["fairseq_12_16"] = table.weights.numpy()  # 10 asked for, 12 rows: the module adds two
golden["fairseq_9_7"] = table.get_embedding(9, 7, 1).numpy()
golden["fairseq_9_8_no_padding"] = table.get_embedding(9, 8, None).numpy()
for past in (0, 4):
    positions = table.create_position_ids_from_input_ids(torch.tensor(TOKENS), 1, past)
    golden[f"positions_past_{past}"] = positions.numpy().astype(np.int16)
golden["embedded"] = table(torch.tensor(TOKENS)).numpy()

for buckets, distance in ((320, 800), (32, 128), (8, 20)):
    layer = WavLMAttention(8, 2, num_buckets=buckets, max_distance=distance)
    relative = torch.arange(-1000, 1001)
    found = layer._relative_positions_bucket(relative).numpy()
    golden[f"buckets_{buckets}_{distance}"] = found.astype(np.int16)

np.savez_compressed(Path(__file__).with_name("positions.npz"), **golden)
