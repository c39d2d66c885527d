// Click a word, hear only what its attention row listened to. All data is in the page: it works
// without a kernel. The sound is the recording times the row (listening.row_gain in Python does the
// same): timing unchanged, gain at most 1.

const RATE = 16000;
const SMOOTHING = 160; // samples: 10 ms
const INK = "#1a1a1a";
const MEL_HEIGHT = 110, ROW_HEIGHT = 26, AXIS_HEIGHT = 22, LEFT = 78, WIDTH = 740, RIGHT = 24;

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};

export function rowGain(row, samples, frameSeconds) {
  const hop = frameSeconds * RATE;
  let peak = 0;
  row.forEach((weight, i) => { if (i * hop < samples) peak = Math.max(peak, weight); });
  const gain = new Float32Array(samples);
  if (peak === 0) return gain;
  const level = Float32Array.from(row, (weight) => Math.min(weight / peak, 1));
  const at = (sample) => { // straight lines between the centres of the frames
    if (sample <= 0) return level[0];
    const i = Math.floor(sample / hop), share = sample / hop - i;
    if (i >= level.length - 1) return i === level.length - 1 && share === 0 ? level[i] : 0;
    return level[i] * (1 - share) + level[i + 1] * share;
  };
  const raw = Float32Array.from({ length: samples + 2 * SMOOTHING }, (_, i) => at(i - SMOOTHING));
  const bell = Float64Array.from({ length: SMOOTHING },
    (_, k) => 0.5 - 0.5 * Math.cos((2 * Math.PI * (k + 1)) / (SMOOTHING + 1)));
  const total = bell.reduce((sum, x) => sum + x, 0);
  const half = Math.floor((SMOOTHING - 1) / 2);
  for (let i = 0; i < samples; i += 1) {
    let sum = 0;
    for (let k = 0; k < SMOOTHING; k += 1) sum += bell[k] * raw[i + SMOOTHING + half - k];
    gain[i] = Math.min(1, Math.max(0, sum / total));
  }
  return gain;
}

function drawing(model, data) {
  const { words, spans, rows, frames, frameSeconds, seconds, lut, mel } = data;
  const height = MEL_HEIGHT + 8 + words.length * ROW_HEIGHT + AXIS_HEIGHT;
  const sharp = Math.max(1, window.devicePixelRatio || 1);
  const canvas = make("canvas", { width: WIDTH * sharp, height: height * sharp });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", model.get("summary"));
  const pen = canvas.getContext("2d");
  pen.scale(sharp, sharp);
  const x = (s) => LEFT + ((WIDTH - LEFT - RIGHT) * s) / seconds;
  const y = (w) => MEL_HEIGHT + 8 + w * ROW_HEIGHT;
  const text = (what, left, top, align = "left", font = "13px sans-serif") => {
    pen.fillStyle = INK; pen.font = font; pen.textAlign = align; pen.fillText(what, left, top);
  };
  function heat(w) {
    let top = 0;
    for (let f = 0; f < frames; f += 1) top = Math.max(top, rows[w * frames + f]);
    for (let f = 0; f < frames && (f - 0.5) * frameSeconds < seconds; f += 1) {
      const k = Math.round((255 * rows[w * frames + f]) / (top || 1)) * 3;
      pen.fillStyle = `rgb(${lut[k]},${lut[k + 1]},${lut[k + 2]})`;
      const from = x(Math.max(0, (f - 0.5) * frameSeconds));
      const to = x(Math.min(seconds, (f + 0.5) * frameSeconds));
      pen.fillRect(from, y(w) + 2, to - from + 0.5, ROW_HEIGHT - 4);
    }
  }
  function draw(chosen, gain, playhead) {
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, WIDTH, height);
    pen.imageSmoothingEnabled = false;
    if (mel.complete && mel.naturalWidth) pen.drawImage(mel, x(0), 0, x(seconds) - x(0), MEL_HEIGHT);
    text("mel", LEFT - 8, MEL_HEIGHT / 2, "right");
    words.forEach((word, w) => {
      heat(w);
      text((w === chosen ? "▶ " : "") + word, LEFT - 8, y(w) + 18, "right",
        w === chosen ? "bold 13px sans-serif" : undefined);
      if (spans[w]) {
        pen.lineWidth = 2; pen.strokeStyle = "#fff";
        pen.strokeRect(x(spans[w][0]), y(w) + 3, x(spans[w][1]) - x(spans[w][0]), ROW_HEIGHT - 6);
      }
    });
    if (gain) { // what is heard, as a curve over the mel: dark under light shows on any shade
      for (const [colour, width] of [["#000", 4], ["#fff", 2]]) {
        pen.beginPath(); pen.lineWidth = width; pen.strokeStyle = colour;
        for (let i = 0; i < gain.length; i += 80) {
          pen.lineTo(x(i / RATE), MEL_HEIGHT - 3 - gain[i] * (MEL_HEIGHT - 8));
        }
        pen.stroke();
      }
    }
    const step = seconds > 8 ? 2 : seconds > 3 ? 0.5 : 0.25;
    for (let s = 0; s <= seconds + 1e-6; s += step) {
      text(s.toFixed(2), x(s), height - 7, "center", "12px sans-serif");
      pen.fillStyle = INK; pen.fillRect(x(s), height - AXIS_HEIGHT, 1, 4);
    }
    text("seconds", LEFT - 18, height - 7, "right", "12px sans-serif");
    if (playhead !== null) {
      pen.fillStyle = "#000"; pen.fillRect(x(playhead) - 2, 0, 4, height - AXIS_HEIGHT);
      pen.fillStyle = "#fff"; pen.fillRect(x(playhead) - 1, 0, 2, height - AXIS_HEIGHT);
    }
  }
  const wordAt = (event) => {
    const scale = height / canvas.getBoundingClientRect().height;
    return Math.floor((event.offsetY * scale - MEL_HEIGHT - 8) / ROW_HEIGHT);
  };
  return { canvas, draw, wordAt };
}

function listener(model, data) {
  let context = null, node = null, turn = 0, started = 0, length = 0;
  const decoded = new OfflineAudioContext(1, 1, RATE)
    .decodeAudioData(bytes(model.get("audio")).buffer)
    .then((sound) => sound.getChannelData(0).slice(0, data.samples));
  const stop = () => {
    turn += 1;
    if (node) { node.onended = null; node.stop(); node = null; }
  };
  async function play(gain, onEnd) { // null: stopped, or another one chosen, before it began
    stop();
    const mine = turn, wave = (await decoded).slice();
    if (mine !== turn) return null;
    if (gain) wave.forEach((value, i) => { wave[i] = value * gain[i]; });
    context ??= new AudioContext({ sampleRate: RATE });
    await context.resume();
    if (mine !== turn) return null;
    const buffer = new AudioBuffer({ length: wave.length, sampleRate: RATE });
    buffer.copyToChannel(wave, 0);
    node = new AudioBufferSourceNode(context, { buffer });
    node.connect(context.destination);
    node.onended = () => { node = null; onEnd(); };
    node.start();
    started = context.currentTime; length = wave.length / RATE;
    return wave;
  }
  const now = () => (node ? Math.min(length, Math.max(0, context.currentTime - started)) : null);
  return { play, stop, now, close: () => { stop(); context?.close(); } };
}

function unpack(model) {
  const buffer = bytes(model.get("rows")).buffer;
  const mel = new Image();
  mel.src = `data:image/png;base64,${model.get("mel_png")}`;
  return { words: model.get("words"), spans: model.get("spans"), rows: new Float32Array(buffer),
    frames: model.get("frames"), frameSeconds: model.get("frame_s"),
    samples: model.get("samples"), seconds: model.get("samples") / RATE,
    lut: bytes(model.get("colours")), mel };
}

function render({ model, el }) {
  const data = unpack(model);
  const picture = drawing(model, data);
  const sound = listener(model, data);
  const status = make("p", { className: "status" });
  status.setAttribute("role", "status");
  const buttons = data.words.map((word, w) => make("button",
    { type: "button", className: "word", textContent: word, onclick: () => choose(w) }));
  const whole = make("button", { type: "button", className: "whole",
    textContent: "▶ the whole recording", onclick: () => choose(-1) });
  const halt = make("button", { type: "button", textContent: "■ stop", onclick: () => {
    sound.stop(); finished(); } });
  const root = make("div", { className: "speechlib-widget speechlib-listen-map" },
    make("div", { className: "row" }, ...buttons, whole, halt), picture.canvas, status);
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Hear what each word listened to");
  for (const button of root.querySelectorAll("button")) {
    button.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes the keys for its commands
  }
  el.append(root);

  let chosen = -1, gain = null, frame = 0;
  const paint = () => picture.draw(chosen, gain, sound.now());
  const finished = () => { cancelAnimationFrame(frame); root.dataset.playing = "no"; paint(); };
  const loop = () => {
    paint();
    root.dataset.playhead = sound.now() ?? "";
    frame = requestAnimationFrame(loop);
  };
  async function choose(w) {
    chosen = w;
    gain = w < 0 ? null : rowGain(
      data.rows.subarray(w * data.frames, (w + 1) * data.frames), data.samples, data.frameSeconds);
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === w)));
    status.textContent = w < 0 ? "You hear the whole recording." : model.get("readings")[w];
    root.dataset.chosen = w;
    cancelAnimationFrame(frame);
    const heard = await sound.play(gain, finished);
    if (!heard) return;
    root.heard = heard; // kept on the element for tests
    root.dataset.playing = "yes";
    root.dataset.plays = Number(root.dataset.plays || 0) + 1;
    loop();
  }
  root.onkeydown = (event) => { // arrows walk along the words, as Tab does
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const here = buttons.indexOf(event.target);
    if (!step || here < 0) return;
    buttons[(here + step + buttons.length) % buttons.length].focus();
    event.preventDefault();
  };
  picture.canvas.onclick = (event) => {
    const w = picture.wordAt(event);
    if (w >= 0 && w < data.words.length) choose(w);
  };
  data.mel.onload = paint;
  buttons.forEach((button) => button.setAttribute("aria-pressed", "false"));
  status.textContent = "Choose a word: you hear only what it listened to.";
  root.dataset.chosen = -1;
  paint();
  return () => { cancelAnimationFrame(frame); sound.close(); };
}

export default { render };
