"""Makes vocabularies.json: what the tokenizers of Speech2Text2 and of CTC models do in 4.46.3.

    python tests/golden/make_vocabularies.py      (in an environment with transformers==4.46.3)
"""

import json
import random
import string
import tempfile
from pathlib import Path

from transformers import Speech2Text2Tokenizer, Wav2Vec2CTCTokenizer

HERE = Path(__file__).parent
WORDS = "low lower Lowest newer wider new you don't it's hello , . the there é".split()
MERGES = [
    "l o", "lo w</w>", "e r</w>", "n e", "ne w</w>", "lo w", "t h", "th e", "th e</w>", "e r",
    "h e", "he l", "hel l", "o u", "y ou</w>",
]  # fmt: skip


def pieces():
    """A vocabulary of word pieces that lacks one of the letters."""
    found = ["<s>", "<pad>", "</s>", "<unk>"]
    for letter in string.ascii_lowercase + "',.":
        found += [letter, letter + "@@"]
    for merge in MERGES:
        joined = merge.replace(" ", "")
        found.append(joined[:-4] if joined.endswith("</w>") else joined + "@@")
    return [piece for piece in dict.fromkeys(found) if piece != "w@@"]


def main():
    random.seed(0)
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *string.ascii_uppercase, "'"]
    out = {"merges": MERGES}
    for name, vocabulary in (("pieces", pieces()), ("letters", letters)):
        ids = {token: number for number, token in enumerate(vocabulary)}
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "vocab.json").write_text(json.dumps(ids))
            Path(folder, "merges.txt").write_text("\n".join(MERGES) + "\n")
            file = f"{folder}/vocab.json"
            if name == "pieces":
                tokenizer = Speech2Text2Tokenizer(
                    file, merges_file=f"{folder}/merges.txt", do_lower_case=True
                )
            else:
                tokenizer = Wav2Vec2CTCTokenizer(file, do_lower_case=True)
        texts, drawn = [], []
        for _ in range(12):
            text = " ".join(random.choices(WORDS, k=random.randint(1, 6)))
            found = tokenizer(text).input_ids
            options = {} if name == "pieces" else {"group_tokens": False}
            back = tokenizer.decode(found, skip_special_tokens=True, **options)
            texts.append([text, found, back])
            any_ids = [random.randrange(len(ids)) for _ in range(9)]
            cleaned = tokenizer.decode(
                any_ids, skip_special_tokens=True, clean_up_tokenization_spaces=True, **options
            )
            drawn.append([any_ids, cleaned])
        out[name] = {"vocabulary": ids, "texts": texts, "cleaned": drawn}
    (HERE / "vocabularies.json").write_text(json.dumps(out, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
