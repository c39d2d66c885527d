"""Makes the Flax golden: what FlaxWav2Vec2Model of transformers 4.46.3 does with wav2vec2-large.

    python tests/golden/make_flax.py      (in an environment with transformers==4.46.3, jax, flax)

Reads tests/golden/wav2vec2-large/ (made by make_wavlm.py), writes tests/golden/flax.npz. It is the
only one of our systems that Hugging Face has in Flax, and there only with layer norms in the front
end. Its hidden states come before the final norm, as does its list's last entry.
"""

from pathlib import Path

import jax
import numpy as np
import transformers
from transformers import FlaxWav2Vec2Model

HERE = Path(__file__).parent
VERSION = "4.46.3"


def main():
    if transformers.__version__ != VERSION:
        raise SystemExit(f"expected transformers {VERSION}, got {transformers.__version__}")
    folder = HERE / "wav2vec2-large"
    model = FlaxWav2Vec2Model.from_pretrained(folder, from_pt=True)
    with np.load(folder / "outputs.npz") as arrays:
        waveform, lengths = arrays["waveform"], arrays["lengths"]
    real = np.arange(waveform.shape[1]) < lengths[:, None]
    out = {"versions": np.array(f"transformers {VERSION}, jax {jax.__version__}")}
    for name, given in (("", np.ones_like(real)), ("padded.", real)):
        found = model(waveform * given, attention_mask=given.astype(int), output_attentions=True)
        out[f"{name}last"] = np.asarray(found.last_hidden_state)
        for layer, weights in enumerate(found.attentions):
            out[f"{name}weights.{layer}"] = np.asarray(weights)
    np.savez_compressed(HERE / "flax.npz", **out)


if __name__ == "__main__":
    main()
