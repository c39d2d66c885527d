"""Makes data/pictures/first_light.png anew: lesson 00, a voice written down, a word being heard.

    python tests/browser/picture_of_first_light.py [FILE]

A screenshot of the student edition in a real JupyterLab, with the bundled model as it is. Of the
computer voices it takes the first one that the model writes down without a mistake.
"""

import io
import pathlib
import sys
import tempfile

import jupyter_lab
import nbformat

sys.path.insert(0, str(jupyter_lab.ROOT))
from speechlib import audio, corpus, viz  # noqa: E402
from speechlib.lessons import editions  # noqa: E402
from speechlib.torch_models import transcription  # noqa: E402

LESSON = jupyter_lab.ROOT / "notebooks" / "00_start_here.ipynb"
LARGEST = 150_000  # bytes
AROUND = """output => {
    const top = output.querySelector('.speechlib-recorder').getBoundingClientRect();
    const map = output.querySelector('.speechlib-listen-map').getBoundingClientRect();
    return {x: top.x, y: top.y, width: map.right - top.x + 8, height: map.bottom - top.y + 4}; }"""


def well_heard():
    """Label of the first computer voice without a mistake."""
    texts = {one.path: one.text for one in corpus.digits("test")}
    for label, path in viz.computer_voices():
        if transcription.transcribe(audio.load(path)).text == texts[path]:
            return label
    sys.exit("the model hears no computer voice rightly: no picture of this")


def screenshot(voice):
    """PNG bytes of the recorder, the words and the map, while the second word plays."""
    with tempfile.TemporaryDirectory() as folder, jupyter_lab.lab_server(folder) as lab, \
            jupyter_lab.chromium() as browser:
        edition = editions.student(nbformat.read(LESSON, as_version=4))
        nbformat.write(edition, pathlib.Path(folder) / LESSON.name)
        page = browser.new_page(viewport={"width": 1180, "height": 1400}, device_scale_factor=1.5)
        jupyter_lab.open_notebook(page, lab, LESSON.name)
        page.get_by_label("or a computer voice").select_option(voice)
        page.get_by_role("button", name="Use this voice").click()
        output = page.locator(".jp-OutputArea", has=page.locator(".speechlib-recorder")).first
        output.locator(".speechlib-listen-map").wait_for(timeout=60000)
        output.locator("button.word").nth(1).click()
        page.wait_for_function(
            "() => Number(document.querySelector('.speechlib-listen-map').dataset.playhead) > 0.9")
        return page.screenshot(clip=output.evaluate(AROUND))


def main():
    from PIL import Image

    to = pathlib.Path(sys.argv[1] if sys.argv[1:] else
                      jupyter_lab.ROOT / "data" / "pictures" / "first_light.png")
    picture = Image.open(io.BytesIO(screenshot(well_heard()))).convert("RGB")
    to.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(128, dither=Image.Dither.NONE).save(to, optimize=True)
    size = to.stat().st_size
    print(f"{to}: {picture.width} x {picture.height} pixels, {size / 1000:.0f} kB")
    if size > LARGEST:
        sys.exit(f"larger than {LARGEST / 1000:.0f} kB")


if __name__ == "__main__":
    main()
