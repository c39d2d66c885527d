"""The voices of synthesisers, and one person: () -> list of Voice (timbre, accent, pitch, pace).

A *voice* here is a timbre (how the vocal tract sounds) with an accent (how the words are
pronounced) and its own pitch, pitch range and pace. Whole timbres and whole accents are kept out
of the training part, so that "valid" and "test" are people the model has never met.
"""

from dataclasses import dataclass
from random import Random

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker.

    timbre: the synthesiser's own name of the voice; accent: an espeak-ng language, else the accent;
    pitch: Hz (flite, festival), espeak-ng's scale 0-99, or percent of the voice's own (pico,
    rhvoice); pitch_range: standard deviation in Hz, or 0-99; stretch: duration factor, 1 = the
    voice's own pace; tract: vocal tract factor, above 1 = formants higher, as of a shorter tract.
    """

    name: str
    synthesiser: str
    timbre: str
    accent: str
    sex: str
    split: str
    pitch: float
    pitch_range: float
    stretch: float
    tract: float = 1.0


# espeak-ng's timbres that sound like a person (its robots, whispers and croaks are left out).
WOMEN = """f1 f2 f3 f4 f5 Alicia Andrea Annie anika aunty belinda grandma linda shelby steph
steph2 steph3""".split()
MEN = """default m1 m2 m3 m4 m5 m6 m7 m8 Alex Andy AnxiousAndy Denis Diogo Gene Gene2 Henrique Hugo
Jacky Lee Marco Mario Michael Mike Nguyen RicishayMax RicishayMax2 RicishayMax3 Storm adam announcer
antonio benjamin boris caleb david ed edward edward2 grandpa gustave iven iven2 iven3 iven4 john
kaukovalta klatt klatt2 klatt3 klatt4 klatt5 klatt6 marcelo max michel miguel norbert pablo paul
pedro quincy rob robert sandro travis victor zac""".split()
TIMBRES = {"valid": set("f4 Andrea m6 caleb david Mike".split()),
           "test": set("f5 linda belinda m7 victor edward edward2 Lee".split())}

# "en" is Great Britain.
ENGLISH = """en en-us en-029 en-gb-scotland en-gb-x-rp en-gb-x-gbclan en-gb-x-gbcwmd
en-us-nyc""".split()
ACCENTS = {"valid": {"sv", "hr"}, "test": {"hu", "pt"}}

# The digits zero to nine as a speaker of another language would write them down: read aloud by
# that language's rules they are English with an accent.
SPELLINGS = {
    "de": ["siro wann tuh sri fohr faif ßicks sewwen ejt nein",
           "sihro uann tu fri foar feiff sicks ßeven eit nain",
           "siero wonn tu ßrie fohr feif sicks seven äit nein"],
    "fr": ["zirau ouane tou sri faure faïve sixe sévène eïte naïne",
              "zéro ouanne tou fri fore faïve sikse sévenne éïte naïne"],
    "fr-be": ["zirau ouane tou sri faure faïve sixe sévène eïte naïne"],
    "es": ["siro uan tu tri for faiv six seven eit nain",
           "siro guan tu sri for faif sics seben eit nain"],
    "es-419": ["siro uan tu tri for faiv siks seben eit nain",
           "siro guan tu sri for faif siks seven eit nain"],
    "it": ["ziro uan tu tri for faiv sics seven eit nain",
           "siro uon tu tri foor faif siks seven eit nain",
           "ziro uane tu tri fore faive sicse sevene eite naine"],
    "nl": ["ziero wan toe srie foor faif siks sevven eit nain",
           "siero wan toe trie foor faaif siks seven eet nain"],
    "af": ["ziero wan toe trie foor faaif siks sewwen eit nain"],
    "pl": ["ziro łan tu fri for fajw siks sewen ejt najn",
           "ziroł łan tu sri for fajf siks sewn ejt najn"],
    "hi": ["ज़ीरो वन टू थ्री फ़ोर फ़ाइव सिक्स सेवन एट नाइन",
           "जीरो वान टू थ्री फोर फाइव सिक्स सेवेन एट नाइन"],
    "mr": ["ज़ीरो वन टू थ्री फ़ोर फ़ाइव सिक्स सेवन एट नाइन"],
    "ta": ["ஜீரோ வன் டூ த்ரீ ஃபோர் ஃபைவ் சிக்ஸ் செவன் எய்ட் நைன்"],
    "te": ["జీరో వన్ టూ త్రీ ఫోర్ ఫైవ్ సిక్స్ సెవెన్ ఎయిట్ నైన్"],
    "pt-br": ["ziro uan tu tri for faiv sics séven eit nain",
           "zirou uâni tu tri fór faivi siquis séveni êiti naini"],
    "pt": ["ziro uane tu tri for faive sics séven eit naine"],
    "sv": ["siro vann to tri får fajv siks sevven ejt najn"],
    "nb": ["siro vann to tri får faiv siks sevven ejt nain"],
    "ru": ["зиро уан ту сри фор файв сикс севен эйт найн",
           "зироу ван ту три фор файф сикс сэвэн эйт найн"],
    "uk": ["зіро уан ту срі фор файв сікс севен ейт найн"],
    "el": ["ζίρο ουάν του θρι φορ φάιβ σιξ σέβεν έιτ νάιν",
           "ζίρου γουάν του τρι φορ φάιφ σιξ σέβεν έιτ νάιν"],
    "cs": ["zírou uan tú srí fór fajv siks seven ejt najn"],
    "sk": ["zírou uan tú srí fór fajv siks seven ejt najn"],
    "ro": ["ziro uan tu tri for faiv sics seven eit nain",
           "zirou uan tu sri for faif sics sevăn eit nain"],
    "hu": ["ziró van tú szrí fór fájv sziksz szeven ejt nájn"],
    "hr": ["ziro uan tu tri for fajv siks seven ejt najn"],
    "tr": ["ziro van tu tri for fayv siks seven eyt nayn",
           "siro van tu sri for fayf siks sevin eyt nayn"],
    "fi": ["siirou uan tuu srii foor faiv siks seven eit nain"],
    "id": ["ziro wan tu tri for faif siks seven eit nain"],
    "sw": ["ziro wan tu thri foo faiv siks seven eit nain"],
    "ca": ["ziro uan tu tri for faiv sics seven eit nain",
           "zirou uan tu sri for faif sics seven eit nain"],
    "ja": ["じーろ わん つー すりー ふぉー ふぁいぶ しっくす せぶん えいと ないん",
           "ぜろ わん つー すりー ふぉー ふぁいぶ しっくす せぶん えーと ないん"],
    "da": ["siro van tu tri for fajv siks seven ejt najn"],
    "is": ["siró van tú þrí for fæf siks seven eit næn"],
    "et": ["siiro uan tuu srii foor faiv siks seven eit nain"],
    "lt": ["zyro uan tu tri for faiv siks seven eit nain"],
    "lv": ["ziro uan tū trī for faiv siks seven eit nain"],
    "sl": ["ziro uan tu tri for fajv siks seven ejt najn"],
    "mk": ["зиро уан ту три фор фајв сикс севен ејт најн"],
    "bg": ["зиро уан ту три фор файв сикс севен ейт найн"],
    "kk": ["зиро уан ту сри фор файв сикс севен эйт найн"],
    "sq": ["ziro uan tu thri for faiv siks seven ejt najn"],
    "eo": ["ziro ŭan tu sri for fajv siks seven ejt najn"],
    "ia": ["ziro uan tu tri for faiv six seven eit nain"],
    "eu": ["ziro uan tu tri for faib siks seben eit nain"],
    "an": ["siro uan tu tri for faib siks seben eit nain"],
    "pap": ["ziro uan tu tri for faiv siks seven eit nain"],
    "ht": ["ziwo wàn tou tri fò fayv siks sevenn eyt nayn"],
    "fr-ch": ["ziro ouane tou sri fore faïve sixe sévène éïte naïne"],
    "lb": ["siro wann tu sri foer faif siks sewen eit nain"],
    "cy": ["siro wan tw thri ffor ffaif sics sefen eit nain"],
    "ms": ["ziro wan tu tri for faif siks seven eit nain"],
    "az": ["ziro van tu tri for fayv siks seven eyt nayn"],
    "hy": ["զիրո ուան տու թրի ֆոր ֆայվ սիքս սեվեն էյթ նայն"],
    "ka": ["ზირო უან ტუ თრი ფორ ფაივ სიქს სევენ ეით ნაინ"],
    "bn": ["জিরো ওয়ান টু থ্রি ফোর ফাইভ সিক্স সেভেন এইট নাইন"],
    "gu": ["ઝીરો વન ટુ થ્રી ફોર ફાઇવ સિક્સ સેવન એઇટ નાઇન"],
    "kn": ["ಝೀರೋ ವನ್ ಟೂ ತ್ರೀ ಫೋರ್ ಫೈವ್ ಸಿಕ್ಸ್ ಸೆವೆನ್ ಎಯ್ಟ್ ನೈನ್"],
    "ml": ["സീറോ വൺ ടു ത്രീ ഫോർ ഫൈവ് സിക്സ് സെവൻ എയ്റ്റ് നയൻ"],
    "pa": ["ਜ਼ੀਰੋ ਵਨ ਟੂ ਥ੍ਰੀ ਫੋਰ ਫਾਈਵ ਸਿਕਸ ਸੈਵਨ ਏਟ ਨਾਈਨ"],
}

# The same for festival, whose rules for a language are not espeak-ng's.
FESTIVAL_SPELLINGS = {
    "it": ["ziro uan tu tri for faiv sics seven eit nain",
           "sirou uan tu sri foor faiv sics seven eit nain",
           "zirou uon tu fri foor faif sics seven eit nain"],
    "ca": ["ziro uan tu tri for faif sics seven eit nain",
           "zirou uan tu sri for faif sics seven eit nain"],
    "fi": ["siirou uan tuu srii foor faiv siks seven eit nain",
           "siro van tu trii foor faiv siks seven eit nain"],
    "cs": ["zírou uan tú srí fór fajv siks seven ejt najn",
           "zíro van tú trí fór fajf siks sevn ejt najn"],
    "ru": ["зиро уан ту сри фор файв сикс севен эйт найн",
           "зиро ван ту три фо файв сикс сэвэн эйт найн"],
}

# Voices of recorded people: synthesiser, timbre, accent, sex, split, mean pitch (0: fixed) in Hz,
# for pico and rhvoice in percent
RECORDED = [
    ("flite", "slt", "American", "female", "train", 170),
    ("flite", "awb", "Scottish", "male", "train", 120),
    ("flite", "kal16", "American", "male", "train", 95),
    ("flite", "rms", "American", "male", "test", 100),
    ("festival", "ked_diphone", "American", "male", "valid", 110),
    ("festival", "cmu_us_slt_arctic_hts", "American", "female", "train", 0),
    ("festival", "lp_diphone", "it", "female", "train", 190),
    ("festival", "pc_diphone", "it", "male", "train", 110),
    ("festival", "upc_ca_ona_hts", "ca", "female", "train", 0),
    ("festival", "suo_fi_lj_diphone", "fi", "female", "train", 180),
    ("festival", "hy_fi_mv_diphone", "fi", "male", "train", 110),
    ("festival", "czech_dita", "cs", "female", "train", 200),
    ("festival", "czech_krb", "cs", "male", "train", 230),  # a child
    ("festival", "czech_machac", "cs", "male", "train", 105),
    ("festival", "czech_ph", "cs", "male", "train", 105),
    ("festival", "msu_ru_nsh_clunits", "ru", "male", "train", 0),
    ("asterisk", "Allison", "American", "female", "train", 0),
    ("pico", "en-US", "American", "female", "train", 100),
    ("pico", "en-GB", "British", "female", "train", 100),
    ("pico", "de-DE", "de", "female", "train", 100),
    ("pico", "es-ES", "es", "female", "train", 100),
    ("pico", "fr-FR", "fr", "female", "train", 100),
    ("pico", "it-IT", "it", "female", "train", 100),
    ("rhvoice", "alan", "British", "male", "train", 100),
    ("rhvoice", "bdl", "American", "male", "train", 100),
    ("rhvoice", "clb", "American", "female", "train", 100),
    ("rhvoice", "aleksandr", "ru", "male", "train", 100),
    ("rhvoice", "anna", "ru", "female", "train", 100),
    ("rhvoice", "elena", "ru", "female", "train", 100),
    ("rhvoice", "irina", "ru", "female", "train", 100),
    ("rhvoice", "anatol", "uk", "male", "train", 100),
    ("rhvoice", "natalia", "uk", "female", "train", 100),
    ("rhvoice", "azamat", "kk", "male", "train", 100),  # Kyrgyz, written as Kazakh is
    ("rhvoice", "nazgul", "kk", "female", "train", 100),
    ("rhvoice", "spomenka", "eo", "female", "train", 100),
    ("rhvoice", "Leticia-F123", "pt-br", "female", "train", 100),
]
NATURAL = ("flite", "festival", "asterisk", "pico", "rhvoice")  # made of recorded speech
WHOLE_WORDS = ("asterisk", "pico", "rhvoice")  # spoken or recorded word by word: digits only
COPIES = 9  # speakers made of one recorded voice, by other pitches, paces and vocal tracts


def spellings(voice: Voice) -> list[dict[str, str]]:
    """English digit word -> what is written for this voice: one dict per way of writing it."""
    rows = SPELLINGS.get(voice.accent, [" ".join(DIGITS)])
    if voice.synthesiser == "festival":
        rows = FESTIVAL_SPELLINGS.get(voice.accent, rows)
    return [dict(zip(DIGITS, row.split(), strict=True)) for row in rows]


def split_of(timbre: str, accent: str) -> str:
    """The split an espeak-ng timbre with an accent belongs to: "train", "valid" or "test"."""
    for split in ("test", "valid"):
        if timbre in TIMBRES[split] or accent in ACCENTS[split]:
            return split
    return "train"


def espeak_voice(timbre: str, accent: str) -> Voice:
    """A speaker by espeak-ng; pitch, range and pace are drawn from the name, so always the same."""
    draw = Random(f"{timbre} {accent}")
    sex = "female" if timbre in WOMEN else "male"
    return Voice(f"espeak-{accent}-{timbre}", "espeak-ng", timbre, accent, sex,
                 split_of(timbre, accent), round(draw.uniform(18, 82)), round(draw.uniform(20, 90)),
                 round(draw.uniform(0.85, 1.6), 2), round(draw.uniform(0.93, 1.07), 2))


def recorded_voice(row: tuple, copy: int) -> Voice:
    """A speaker made of a recorded person; copy 0 is the voice as recorded."""
    synthesiser, timbre, accent, sex, split, pitch = row
    draw = Random(f"{timbre} {copy}")
    changed = (round(pitch * draw.uniform(0.8, 1.3)), round(draw.uniform(8, 40)),
               round(draw.uniform(0.85, 1.4), 2), round(draw.uniform(0.86, 1.16), 2))
    values = changed if copy else (pitch, 0, 1.0, 1.0)
    return Voice(f"{synthesiser}-{timbre}-{copy}", synthesiser, timbre, accent, sex, split, *values)


def all_voices() -> list[Voice]:
    """Every speaker of the training library: (timbre, accent) pairs of espeak-ng, then the rest."""
    pairs = []
    for n, timbre in enumerate(WOMEN * 2 + MEN):  # women twice: there are fewer of them
        pairs += [(timbre, ENGLISH[(3 * n + k) % len(ENGLISH)]) for k in (0, 1, 3)]
    for n, accent in enumerate(SPELLINGS):
        copies = 14 if accent in ("de", "fr", "hi", "es", "it", "nl") else 8
        mixed = WOMEN[n % 3 :: 3] + MEN[n % 7 :: 7]
        pairs += [(timbre, accent) for timbre in Random(accent).sample(mixed, copies)]
    voices = [espeak_voice(*pair) for pair in dict.fromkeys(pairs)]
    return voices + [recorded_voice(row, copy) for row in RECORDED for copy in range(COPIES)]
