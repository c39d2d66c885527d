// A voice recorder: microphone, sound file or bundled voice -> samples sent to Python.
// The samples go as a binary message, never as widget state, so that no notebook stores them.

// Runs on the audio thread: collects samples and posts them in blocks.
const TAP = `registerProcessor("speechlib-tap", class extends AudioWorkletProcessor {
  constructor() {
    super(); this.block = []; this.size = 0;
    this.port.onmessage = () => { this.flush(); this.port.postMessage("end"); };
  }
  flush() {
    const all = new Float32Array(this.size); let at = 0;
    for (const part of this.block) { all.set(part, at); at += part.length; }
    this.block = []; this.size = 0;
    this.port.postMessage(all, [all.buffer]);
  }
  process(inputs) {
    const channel = inputs[0][0];
    if (channel) { this.block.push(channel.slice()); this.size += channel.length; }
    if (this.size >= 2048) this.flush();
    return true;
  }
});`;

const ELSE = "Or use a sound file or a computer voice below.";
const TROUBLE = {
  NotAllowedError: "The browser was not allowed to use the microphone. Allow it (the icon beside "
    + "the address), then press Record again. " + ELSE,
  NotFoundError: "No microphone was found. Plug one in and press Record again. " + ELSE,
  NotReadableError: "The microphone is in use by another program, or does not answer. " + ELSE,
  Insecure: "Browsers give pages a microphone only on https or localhost. " + ELSE,
};

const make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};

async function capture(limitSeconds, onLevel, stopped) {
  if (!navigator.mediaDevices?.getUserMedia) throw Object.assign(new Error(), { name: "Insecure" });
  // The sound as it is: no echo cancelling, noise removal or gain control.
  const stream = await navigator.mediaDevices.getUserMedia({ audio: {
    channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
  const context = new AudioContext();
  const module = URL.createObjectURL(new Blob([TAP], { type: "text/javascript" }));
  try {
    await context.resume();
    await context.audioWorklet.addModule(module);
    const tap = new AudioWorkletNode(context, "speechlib-tap",
      { channelCount: 1, channelCountMode: "explicit" });
    const blocks = [];
    const wanted = Math.round(limitSeconds * context.sampleRate);
    let samples = 0;
    let isFull;
    const full = new Promise((resolve) => { isFull = resolve; });
    const ended = new Promise((resolve) => {
      tap.port.onmessage = ({ data }) => {
        if (data === "end") { resolve(); return; }
        blocks.push(data);
        samples += data.length;
        if (samples >= wanted) isFull();
        onLevel(data.reduce((top, x) => Math.max(top, Math.abs(x)), 0),
          samples / context.sampleRate);
      };
    });
    // Some browsers run only what leads to the speakers: lead there, silently.
    const mute = new GainNode(context, { gain: 0 });
    context.createMediaStreamSource(stream).connect(tap).connect(mute).connect(context.destination);
    // The samples decide when it is full: a clock runs on while the sound card starts or stalls.
    await Promise.race([full, stopped(limitSeconds + 2),
      new Promise((gone) => { stream.getAudioTracks()[0].onended = gone; })]);
    tap.port.postMessage("end");
    await ended;
    const wave = new Float32Array(samples);
    let at = 0;
    for (const block of blocks) { wave.set(block, at); at += block.length; }
    return { wave: wave.subarray(0, wanted),
      rate: context.sampleRate };
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    URL.revokeObjectURL(module);
    context.close();
  }
}

async function decodeFile(file, limitSeconds) {
  // decodeAudioData resamples to the rate of its context, with a proper filter.
  const sound = await new OfflineAudioContext(1, 1, 16000)
    .decodeAudioData(await file.arrayBuffer());
  const wave = new Float32Array(Math.min(sound.length, Math.round(limitSeconds * 16000)));
  for (let c = 0; c < sound.numberOfChannels; c += 1) {
    const channel = sound.getChannelData(c);
    for (let i = 0; i < wave.length; i += 1) wave[i] += channel[i] / sound.numberOfChannels;
  }
  return { wave, rate: 16000, cut: sound.length > wave.length };
}

function build(model) {
  const record = make("button", { type: "button", className: "record", textContent: "● Record" });
  const level = make("meter", { min: 0, max: 1, low: 0.02, high: 0.98, optimum: 0.3, value: 0 });
  level.setAttribute("aria-label", "loudness of the microphone");
  const clock = make("span", { className: "clock" });
  const file = make("input", { type: "file", accept: "audio/*,video/*" });
  const voice = make("select", {}, ...model.get("voice_labels").map(
    (text, i) => new Option(text, i)));
  const useVoice = make("button", { type: "button", className: "use-voice",
    textContent: "Use this voice" });
  const status = make("p", { className: "status" });
  status.setAttribute("role", "status");
  const audio = make("audio", { controls: true, hidden: true });
  audio.setAttribute("aria-label", "your recording");
  const root = make("div", { className: "speechlib-widget speechlib-recorder" },
    make("div", { className: "row" }, record, level, clock),
    make("div", { className: "row" }, make("label", {}, "or a sound file: ", file)),
    status, audio);
  if (voice.options.length) {
    root.insertBefore(make("div", { className: "row" },
      make("label", {}, "or a computer voice: ", voice), useVoice), status);
  }
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Voice recorder");
  for (const control of root.querySelectorAll("button, select, input, audio")) {
    control.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes the keys for itself
  }
  return { root, record, level, clock, file, voice, useVoice, status, audio };
}

function render({ model, el }) {
  const ui = build(model);
  el.append(ui.root);
  const limit = model.get("max_seconds");
  let stop = null; // ends the recording that runs, if one does
  let gone = false; // shown no more: the cell was run again, say, while the browser was asking
  let answered = null; // timer: has Python answered?
  let heard = null; // object URL of the player

  const say = (state, text) => {
    ui.root.dataset.state = state;
    ui.status.textContent = text;
    ui.status.classList.toggle("error", state === "error");
    const busy = state === "asking" || state === "sending";
    ui.record.disabled = busy;
    [ui.file, ui.voice, ui.useVoice].forEach((one) => {
      one.disabled = busy || state === "recording";
    });
  };
  const send = (content, buffers) => {
    say("sending", "Handing it to Python…");
    clearTimeout(answered);
    answered = setTimeout(() => say("error", "Python does not answer. If the kernel is busy, wait "
      + "a little; if it is not running, run this cell again."), 15000);
    model.send(content, undefined, buffers);
  };
  const deliver = ({ wave, rate, cut }, source) => {
    const top = wave.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    if (wave.length < 0.3 * rate) {
      say("error", "That was too short: less than 0.3 seconds. Try again.");
    } else if (top < 0.001) {
      say("error", "Only silence arrived. Is the microphone muted, or the wrong one chosen?");
    } else {
      const copy = wave.slice();
      send({ type: "wave", rate, source, cut: Boolean(cut) }, [copy.buffer]);
    }
  };
  const recordOnce = async () => {
    say("asking", "Asking for the microphone…");
    const stopped = (seconds) => new Promise((resolve) => {
      if (gone) { resolve(); return; } // nobody could stop it
      const timer = setTimeout(resolve, seconds * 1000);
      stop = () => { clearTimeout(timer); resolve(); };
      ui.record.textContent = "■ Stop";
      say("recording", `Recording: speak now. It stops by itself after ${limit} seconds.`);
    });
    try {
      const taken = await capture(limit, (top, seconds) => {
        ui.level.value = Math.min(1, Math.sqrt(top)); // quiet speech should move it, too
        ui.clock.textContent = `${Math.min(seconds, limit).toFixed(1)} s of ${limit} s`;
      }, stopped);
      deliver(taken, "microphone");
    } catch (error) {
      say("error", TROUBLE[error.name] ?? `Recording failed (${error.name}). ${ELSE}`);
    } finally {
      stop = null;
      ui.level.value = 0;
      ui.record.textContent = "● Record";
    }
  };
  ui.record.onclick = () => (stop ? stop() : recordOnce());
  ui.file.onchange = async () => {
    const [chosen] = ui.file.files;
    if (!chosen) return;
    say("sending", `Reading ${chosen.name}…`);
    try {
      deliver(await decodeFile(chosen, limit), chosen.name);
    } catch {
      say("error", `${chosen.name} is not a sound file that this browser can read. Try WAV or MP3.`);
    }
    ui.file.value = ""; // so that the same file can be chosen again
  };
  ui.useVoice.onclick = () => send({ type: "voice", index: Number(ui.voice.value) });

  const onMessage = (content, buffers) => {
    clearTimeout(answered);
    if (content.type === "error") { say("error", content.text); return; }
    if (content.type === "said") { say("done", content.text); return; }
    if (heard) URL.revokeObjectURL(heard);
    heard = URL.createObjectURL(new Blob([buffers[0]], { type: content.kind }));
    ui.audio.src = heard;
    ui.audio.hidden = false;
    ui.audio.setAttribute("aria-label", content.source);
    ui.root.dataset.source = content.source;
    say("done", content.text);
  };
  model.on("msg:custom", onMessage);
  say("idle", "Press Record and say a few digits.");
  return () => {
    gone = true;
    if (stop) stop();
    clearTimeout(answered);
    if (heard) URL.revokeObjectURL(heard);
    model.off("msg:custom", onMessage);
  };
}

export default { render };
