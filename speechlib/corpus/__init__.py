"""The bundled corpus of spoken digits, and how it is made.

`digits("test")` -> utterances with text, times and sound. Reading needs no synthesiser.
"""

from speechlib.corpus.utterances import Utterance, digits, speakers

__all__ = ["Utterance", "digits", "speakers"]
