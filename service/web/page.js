"use strict";

const by = (id) => document.getElementById(id);
let picture = null;
let running = null;

const BY_HAND = "choose “set by hand” above and set sigma yourself";
const ADVICE = {
  "was-cmyk": `The picture was in CMYK. It was converted to sRGB by its color profile.`,
  "guessed-cmyk": `The picture was in CMYK without a color profile that can be used. It was converted to sRGB by a simple formula, so its colors are not exact.`,
  "was-premultiplied": `The colors of the picture were multiplied by its alpha. They were divided by it before denoising.`,
  "unlabeled-colors": `The colors of the picture are not sRGB, as in HDR pictures, and the result does not say so. It looks different.`,
  "too-small": `The picture is too small to estimate its noise, so it was left unchanged. To denoise it, ${BY_HAND}.`,
  "looks-clean": `The picture looks clean already, so it was left unchanged. If you see noise, ${BY_HAND}.`,
  "not-white": `The noise is not even: it was smoothed or compressed, or is stronger in some places. Choose the network for photographs, or ${BY_HAND}.`,
  "weak-noise": `The noise is weak and hard to tell from fine texture, so only a part of it was removed. To remove all of it, ${BY_HAND}.`,
  "signal-dependent": `The noise differs between dark and bright parts, so no single sigma fits the whole picture. If one part is still noisy, ${BY_HAND}.`,
  "out-of-range": `The noise is stronger or weaker than the model was trained for, so the nearest sigma of its range was used. To try another one, ${BY_HAND}.`,
  "not-photon-noise": `The noise does not grow with the brightness as photon noise does. Denoise the picture as a photograph, or ${BY_HAND}.`,
  "outliers": `A few samples lie far outside the range of all others, so the whole picture was denoised at very low contrast. Replace these samples, which may be hot pixels, and send the picture again.`,
};

const say = (text, error = false) => {
  by("status").textContent = text;
  by("status").classList.toggle("error", error);
};

function choose(file) {
  if (!file) return;
  if (running) {
    running.abort();
    finish();
  }
  picture = file;
  by("result").hidden = true; // it belongs to the previous picture
  by("chosen").textContent = `${file.name || "pasted picture"}, ${Math.ceil(file.size / 1024)} KiB`;
  enable(true);
  say("");
}

// The button stays focusable while it does nothing: a disabled button would lose the focus of the keyboard.
function enable(on) {
  by("go").setAttribute("aria-disabled", String(!on));
}

// Return a URL for a picture, and release the URL that the same name had before.
const urls = {};
function show(name, blob) {
  if (urls[name]) URL.revokeObjectURL(urls[name]);
  urls[name] = URL.createObjectURL(blob);
  return urls[name];
}

function visible(blob) {
  return ["image/png", "image/jpeg", "image/webp", "image/avif", "image/bmp"].includes(blob.type);
}

async function request(image, options, reference, signal) {
  const form = new FormData();
  form.append("image", image);
  for (const [name, value] of Object.entries(options)) form.append(name, value);
  if (reference) form.append("reference", reference);
  const headers = by("key").value ? { "X-API-Key": by("key").value } : {};
  for (;;) {
    const answer = await fetch("/v1/denoise", { method: "POST", body: form, headers, signal });
    if (answer.ok) return answer;
    const problem = await answer.json().catch(() => ({ title: `Error ${answer.status}`, detail: "" }));
    signal.throwIfAborted();
    if (answer.status === 401) by("key-label").hidden = false;
    const wait = Number(answer.headers.get("Retry-After"));
    if (![429, 503].includes(answer.status) || !wait) throw new Error(`${problem.title}. ${problem.detail}`);
    say(`${problem.title}. Trying again in ${wait} seconds …`);
    await new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, wait * 1000);
      signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
    });
  }
}

async function denoise() {
  const image = picture;
  const current = new AbortController();
  const ask = (options, reference) => request(image, options, reference, current.signal);
  running = current;
  enable(false);
  by("stop").hidden = false;
  say("Denoising …");
  const options = {
    sigma: by("mode").value === "auto" ? "auto" : by("sigma").value,
    model: by("model").value,
    color: by("color").checked ? "rgb" : "gray",
    strength: by("strength").value,
    detail: by("detail").value,
  };
  const began = performance.now();
  try {
    const answer = await ask(options, by("reference").files[0]);
    const seconds = (performance.now() - began) / 1000;
    const result = await answer.blob();
    // Browsers cannot show TIFF and HEIC, so the service is asked for a PNG as well.
    const shown = visible(result) ? result : await (await ask({ ...options, format: "png" })).blob();
    const before = visible(image) ? image : await (await ask({ ...options, strength: 0, format: "png" })).blob();
    if (running !== current) return; // another picture was chosen meanwhile
    by("after").src = show("after", shown);
    by("before").src = show("before", before);
    by("download").href = show("result", result);
    const suffix = result.type.replace("image/", "").replace("jpeg", "jpg");
    by("download").download = `${(image.name || "picture").replace(/\.[^.]*$/, "")}-denoised.${suffix}`;
    figures(answer.headers, seconds);
    by("result").hidden = false;
    say(`Done in ${seconds.toFixed(1)} seconds: the result is below. ${advice(answer.headers)}`);
  } catch (error) {
    if (running !== current) return; // stopped because another picture was chosen
    const stopped = error.name === "AbortError";
    if (!stopped) by("result").hidden = true;
    say(stopped ? "Stopped." : error.message, !stopped);
  } finally {
    if (running === current) finish();
  }
}

// Return to the state before a run, with the focus on a button that is still there.
function finish() {
  running = null;
  enable(true);
  const focused = document.activeElement === by("stop");
  by("stop").hidden = true;
  if (focused) by("go").focus();
}

// Return the warnings in words, with what to do about them.
function advice(headers) {
  const codes = (headers.get("X-Warnings") || "").split(",").map((code) => code.trim()).filter(Boolean);
  return codes.map((code) => ADVICE[code] || `The service warns: ${code}.`).join(" ");
}

function figures(headers, seconds) {
  const rows = [
    ["Network", headers.get("X-Model")],
    ["Sigma", headers.get("X-Sigma")],
    ["Confidence of the estimate", headers.get("X-Sigma-Confidence")],
    ["PSNR before", headers.get("X-PSNR-Noisy") && `${headers.get("X-PSNR-Noisy")} dB`],
    ["PSNR after", headers.get("X-PSNR-Denoised") && `${headers.get("X-PSNR-Denoised")} dB`],
    ["Time", `${seconds.toFixed(1)} s`],
  ];
  by("figures").replaceChildren(
    ...rows.filter(([, value]) => value).map(([name, value]) => {
      const pair = document.createElement("div");
      const term = document.createElement("dt");
      const figure = document.createElement("dd");
      term.textContent = name;
      figure.textContent = value;
      pair.append(term, figure);
      return pair;
    }),
  );
}

by("image").addEventListener("change", (event) => choose(event.target.files[0]));
by("mode").addEventListener("change", () => { by("level").hidden = by("mode").value === "auto"; });
by("sigma").addEventListener("input", () => { by("sigma-value").textContent = by("sigma").value; });
by("slider").addEventListener("input", () => by("compare").style.setProperty("--at", `${by("slider").value}%`));
by("stop").addEventListener("click", () => running && running.abort());
by("form").addEventListener("submit", (event) => { event.preventDefault(); if (picture && !running) denoise(); });
document.addEventListener("paste", (event) => choose([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    by("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") choose(event.dataTransfer.files[0]);
  });
}

fetch("/v1/info").then((answer) => (answer.ok ? answer.json() : null)).then((info) => {
  if (info) by("device").textContent = `This service runs on ${info.device === "cuda" ? info.device_name : "the CPU"}.`;
}).catch(() => {});
