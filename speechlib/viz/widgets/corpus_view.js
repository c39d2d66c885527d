// The corpus on one time axis: wave and mel on a canvas, words, phones and turns as buttons under
// it. A click plays exactly that stretch. All of the utterance on show is in the page; only another
// one needs Python.

const RATE = 16000;
const WAVE_HEIGHT = 60, MEL_HEIGHT = 110, GAP = 4;
const FADE = RATE / 200; // 5 ms, so that a cut does not click
const LEGIBLE = 90; // pixels a second from which words fit into their boxes
const WIDEST = 8000; // pixels: wider canvases stay empty in some browsers
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], Home: [-1e9, 0], End: [1e9, 0],
  ArrowUp: [0, -1], ArrowDown: [0, 1] };

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};
const button = (className, textContent, onclick) => make("button",
  { type: "button", className, textContent, onclick });

function build() {
  const status = make("p", { className: "status" });
  status.setAttribute("role", "status");
  const ui = {
    status, list: make("select"), play: button("play", "▶ Play all"),
    out: button("zoom", "− Zoom out"), into: button("zoom", "+ Zoom in"),
    text: make("p", { className: "text" }), names: make("div", { className: "names" }),
    canvas: make("canvas"), lanes: make("div", { className: "lanes" }),
    axis: make("div", { className: "axis" }), span: make("div", { className: "span" }),
    head: make("div", { className: "playhead" }), table: make("table"),
  };
  ui.choice = make("label", { hidden: true }, "Utterance: ", ui.list);
  ui.time = make("div", { className: "time" }, ui.canvas, ui.lanes, ui.axis, ui.span, ui.head);
  ui.scroll = make("div", { className: "scroll" }, ui.time);
  ui.words = make("details", {}, make("summary", { textContent: "Words and times as a table" }),
    ui.table);
  ui.canvas.setAttribute("role", "img");
  ui.names.setAttribute("aria-hidden", "true"); // the lanes carry their names themselves
  ui.root = make("div", { className: "speechlib-widget speechlib-corpus" },
    make("div", { className: "row" }, ui.choice, ui.play, ui.out, ui.into), ui.text,
    make("div", { className: "stage" }, ui.names, ui.scroll), status,
    make("p", { className: "keys", textContent: "Click a piece to hear it, the wave to hear it "
      + "from there. Keys: arrows move, Enter plays the piece, Shift+Enter plays on from it, "
      + "Space plays all or stops." }), ui.words);
  ui.root.setAttribute("role", "group");
  ui.root.setAttribute("aria-label", "Utterance: see and hear its words");
  return ui;
}

// Samples of a stretch, faded as listening.hear_span does in Python.
export function cut(wave, from, to) {
  const part = wave.slice(Math.max(0, Math.round(from * RATE)), Math.round(to * RATE));
  const fade = Math.min(Math.floor(part.length / 2), FADE);
  for (let i = 0; i < fade; i += 1) {
    part[i] *= (i + 1) / (fade + 1);
    part[part.length - 1 - i] *= (i + 1) / (fade + 1);
  }
  return part;
}

function speaker() {
  let context = null, node = null, started = 0, first = 0, length = 0;
  const stop = () => { if (node) { node.onended = null; node.stop(); node = null; } };
  async function play(part, from, onEnd) {
    stop();
    context ??= new AudioContext({ sampleRate: RATE });
    await context.resume();
    stop(); // whatever began meanwhile
    const buffer = new AudioBuffer({ length: Math.max(1, part.length), sampleRate: RATE });
    buffer.copyToChannel(part, 0);
    node = new AudioBufferSourceNode(context, { buffer });
    node.connect(context.destination);
    node.onended = () => { node = null; onEnd(); };
    node.start();
    started = context.currentTime; first = from; length = part.length / RATE;
  }
  const now = () => (node
    ? first + Math.min(length, Math.max(0, context.currentTime - started)) : null);
  return { play, stop, now, close: () => { stop(); context?.close(); } };
}

function drawWave(pen, wave, width) {
  let peak = 1e-9;
  wave.forEach((value) => { peak = Math.max(peak, Math.abs(value)); });
  const middle = WAVE_HEIGHT / 2, scale = (middle - 2) / peak;
  pen.fillStyle = "#0072b2";
  for (let x = 0; x < width; x += 1) {
    let low = 0, high = 0;
    const end = Math.floor(((x + 1) * wave.length) / width);
    for (let i = Math.floor((x * wave.length) / width); i < end; i += 1) {
      low = Math.min(low, wave[i]); high = Math.max(high, wave[i]);
    }
    pen.fillRect(x, middle - high * scale, 1, Math.max(1, (high - low) * scale));
  }
}

function drawCanvas(ui, item) {
  const width = ui.time.clientWidth, height = WAVE_HEIGHT + GAP + MEL_HEIGHT;
  const sharp = Math.min(window.devicePixelRatio || 1, WIDEST / Math.max(1, width));
  Object.assign(ui.canvas, { width: Math.max(1, width * sharp), height: height * sharp });
  ui.canvas.style.height = `${height}px`;
  const pen = ui.canvas.getContext("2d");
  pen.scale(sharp, sharp);
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, width, height);
  if (item.wave) drawWave(pen, item.wave, width);
  pen.imageSmoothingEnabled = false;
  if (item.mel.complete && item.mel.naturalWidth) {
    const x = (seconds) => (width * seconds) / item.seconds;
    pen.drawImage(item.mel, x(-0.005), WAVE_HEIGHT + GAP, x(item.mel_end + 0.005), MEL_HEIGHT);
  }
}

function drawAxis(ui, item) {
  const wanted = (80 * item.seconds) / Math.max(1, ui.time.clientWidth);
  const step = [0.05, 0.1, 0.25, 0.5, 1, 2, 5].find((s) => s >= wanted) ?? 10;
  const ticks = [];
  for (let i = 0; i * step <= item.seconds; i += 1) {
    const tick = make("span", { textContent: `${+(i * step).toFixed(2)} s` });
    tick.style.left = `${(100 * i * step) / item.seconds}%`;
    ticks.push(tick);
  }
  ui.axis.replaceChildren(...ticks);
}

function fillLanes(ui, item, choose) {
  const place = (node, from, to) => {
    node.style.left = `${(100 * from) / item.seconds}%`;
    node.style.width = `${(100 * (to - from)) / item.seconds}%`;
  };
  ui.place = place;
  ui.pieces = item.lanes.map((lane, l) => lane.spans.map(([label, from, to], i) => {
    const node = button("piece", label, () => choose(l, i, false));
    const said = `${label}, ${from.toFixed(2)} to ${to.toFixed(2)} seconds`;
    Object.assign(node, { tabIndex: l + i === 0 ? 0 : -1, title: said });
    node.setAttribute("aria-label", said);
    node.setAttribute("aria-pressed", "false");
    place(node, from, to);
    return node;
  }));
  ui.lanes.replaceChildren(...item.lanes.map((lane, l) => {
    const row = make("div", { className: `lane ${lane.kind}` }, ...ui.pieces[l]);
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", lane.name);
    return row;
  }));
  const names = [["wave", WAVE_HEIGHT + GAP], ["mel", MEL_HEIGHT],
    ...item.lanes.map((lane) => [lane.name, 0])];
  ui.names.replaceChildren(...names.map(([textContent, height]) => {
    const name = make("div", { textContent });
    if (height) name.style.height = `${height}px`;
    return name;
  }));
}

function fillTexts(ui, item) {
  ui.text.replaceChildren(make("b", { textContent: item.text }));
  if (item.german) {
    const german = make("b", { textContent: item.german, lang: "de" });
    ui.text.append(" · in German: ", german);
  }
  if (item.voices) ui.text.append(` · ${item.voices}`);
  ui.canvas.setAttribute("aria-label", item.summary);
  ui.words.hidden = item.rows.length === 0;
  ui.table.replaceChildren(
    make("tr", {}, ...item.columns.map((name) => make("th", { textContent: name, scope: "col" }))),
    ...item.rows.map((row) => make("tr", {},
      ...row.map((cell) => make("td", { textContent: cell })))));
}

// The piece to go to from piece i of lane l: along the lane, or the nearest in time in another.
function neighbour(item, l, i, [along, across]) {
  const lane = Math.min(Math.max(l + across, 0), item.lanes.length - 1);
  const spans = item.lanes[lane].spans;
  if (lane === l) return [l, Math.min(Math.max(i + along, 0), spans.length - 1)];
  const middle = (span) => (span[1] + span[2]) / 2;
  const here = middle(item.lanes[l].spans[i]);
  const away = spans.map((span) => Math.abs(middle(span) - here));
  return [lane, away.indexOf(Math.min(...away))];
}

function render({ model, el }) {
  const ui = build(), sound = speaker();
  const { root, status } = ui;
  let item = null, zoom = 1, frame = 0, turn = 0, answered = null;

  const guard = () => root.querySelectorAll("button, select, summary").forEach((control) => {
    control.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes the keys for itself
  });
  const draw = () => { if (item) { drawCanvas(ui, item); drawAxis(ui, item); } };
  const widest = () => Math.max(1, WIDEST / Math.max(1, ui.scroll.clientWidth));
  const setZoom = (value) => {
    zoom = Math.min(Math.max(1, value), 16);
    ui.time.style.width = `${zoom * 100}%`;
    ui.out.disabled = zoom <= 1;
    ui.into.disabled = zoom * 2 > Math.min(16, widest());
    root.dataset.zoom = zoom;
    draw();
  };
  const showHead = () => {
    const now = sound.now();
    root.dataset.playhead = now ?? "";
    ui.head.hidden = now === null;
    if (now === null) return;
    ui.head.style.left = `${(100 * now) / item.seconds}%`;
    const x = (ui.time.clientWidth * now) / item.seconds - ui.scroll.scrollLeft;
    if (x < 0 || x > ui.scroll.clientWidth) ui.scroll.scrollLeft += x - 20;
  };
  const loop = () => { showHead(); frame = requestAnimationFrame(loop); };
  const stop = () => {
    turn += 1;
    sound.stop();
    cancelAnimationFrame(frame);
    root.dataset.playing = "no";
    ui.play.textContent = "▶ Play all";
    showHead();
  };
  async function play(from, to, what) {
    stop();
    const mine = turn, wave = await item.decoded;
    if (mine !== turn) return;
    root.heard = cut(wave, from, to); // kept on the element for tests
    await sound.play(root.heard, from, stop);
    if (mine !== turn) { sound.stop(); return; }
    status.textContent = what;
    Object.assign(root.dataset, { from, to, playing: "yes",
      plays: Number(root.dataset.plays || 0) + 1 });
    ui.play.textContent = "■ Stop";
    loop();
  }
  const mark = (from, to) => { ui.span.hidden = from === null; ui.place(ui.span, from, to); };
  const press = (l, i) => {
    ui.pieces.flat().forEach((one) => one.setAttribute("aria-pressed", "false"));
    ui.pieces[l]?.[i]?.setAttribute("aria-pressed", "true");
  };
  const choose = (l, i, onwards) => {
    const lane = item.lanes[l], [label, from, to] = lane.spans[i];
    const end = onwards ? item.seconds : to;
    press(l, i);
    point(l, i);
    mark(from, end);
    const whose = lane.voice ? ` of ${lane.voice}` : "";
    play(from, end, `${onwards ? "From the" : "The"} ${lane.kind}${whose} “${label}”: `
      + `${from.toFixed(2)} to ${end.toFixed(2)} s.`);
  };
  const from = (seconds) => {
    press(-1, -1);
    mark(seconds || null, item.seconds);
    play(seconds, item.seconds, seconds === 0 ? "The whole utterance."
      : `From ${seconds.toFixed(2)} s to the end.`);
  };
  const toggle = () => (root.dataset.playing === "yes" ? stop() : from(0));
  const point = (l, i) => ui.pieces.flat().forEach((one) => { // one stop of the Tab key for all
    one.tabIndex = one === ui.pieces[l][i] ? 0 : -1;
  });

  ui.play.onclick = toggle;
  ui.out.onclick = () => setZoom(zoom / 2);
  ui.into.onclick = () => setZoom(zoom * 2);
  ui.canvas.onclick = (event) => {
    const box = ui.canvas.getBoundingClientRect();
    from(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * item.seconds);
  };
  ui.lanes.onkeydown = (event) => {
    const l = ui.pieces.findIndex((lane) => lane.includes(event.target));
    if (l < 0) return;
    const i = ui.pieces[l].indexOf(event.target);
    if (STEPS[event.key]) {
      const [row, at] = neighbour(item, l, i, STEPS[event.key]);
      point(row, at);
      ui.pieces[row][at].focus();
    } else if (event.key === "Enter") choose(l, i, event.shiftKey);
    else if (event.key === " ") toggle();
    else if (event.key === "Escape") stop();
    else return;
    event.preventDefault();
  };
  ui.lanes.onkeyup = (event) => { if (event.key === " ") event.preventDefault(); }; // no click
  ui.list.onchange = () => {
    stop();
    status.textContent = "Fetching it from Python…";
    clearTimeout(answered);
    answered = setTimeout(() => { status.textContent = "Python does not answer. If the kernel is "
      + "busy, wait a little; if it is not running, run this cell again."; }, 15000);
    model.send({ type: "show", index: Number(ui.list.value) });
  };

  const show = () => {
    if (item) stop();
    clearTimeout(answered);
    const shown = model.get("shown"), mel = new Image();
    item = { ...shown, mel, seconds: shown.samples / RATE, wave: null };
    const mine = item;
    mel.onload = draw;
    mel.src = `data:image/png;base64,${shown.mel}`;
    item.decoded = new OfflineAudioContext(1, 1, RATE).decodeAudioData(bytes(shown.audio).buffer)
      .then((decoded) => {
        mine.wave = decoded.getChannelData(0).slice(0, shown.samples);
        draw();
        return mine.wave;
      });
    fillTexts(ui, item);
    fillLanes(ui, item, choose);
    guard();
    mark(null, 0);
    showHead();
    ui.list.value = shown.index;
    root.dataset.index = shown.index;
    status.textContent = "";
    const wide = ui.scroll.clientWidth || 640;
    setZoom([1, 2, 4].find((z) => (wide * z) / item.seconds >= LEGIBLE) ?? 8);
    ui.scroll.scrollLeft = 0;
  };
  const onMessage = (content) => {
    if (content.type === "error") { clearTimeout(answered); status.textContent = content.text; }
    if (content.type !== "list") return;
    ui.list.replaceChildren(...content.names.map((name, i) => new Option(name, i)));
    ui.list.value = model.get("shown").index;
    ui.choice.hidden = content.names.length < 2;
  };

  el.append(root);
  model.on("change:shown", show);
  model.on("msg:custom", onMessage);
  const watch = new ResizeObserver(draw);
  watch.observe(ui.scroll);
  root.dataset.playing = "no";
  show();
  model.send({ type: "list" }); // asked for, not stored: a saved notebook has no use for it
  return () => {
    stop();
    sound.close();
    watch.disconnect();
    clearTimeout(answered);
    model.off("change:shown", show);
    model.off("msg:custom", onMessage);
  };
}

export default { render };
