"use strict";

const by = (id) => document.getElementById(id);
let picture = null;
let running = null;

const say = (text, error = false) => {
  by("status").textContent = text;
  by("status").classList.toggle("error", error);
};

function choose(file) {
  if (!file) return;
  picture = file;
  by("chosen").textContent = `${file.name || "pasted picture"}, ${Math.ceil(file.size / 1024)} KiB`;
  by("go").disabled = false;
  say("");
}

// Return a URL for a picture, and release the URL that the same name had before.
const urls = {};
function show(name, blob) {
  if (urls[name]) URL.revokeObjectURL(urls[name]);
  urls[name] = URL.createObjectURL(blob);
  return urls[name];
}

async function request(options, reference) {
  const form = new FormData();
  form.append("image", picture);
  for (const [name, value] of Object.entries(options)) form.append(name, value);
  if (reference) form.append("reference", reference);
  const headers = by("key").value ? { "X-API-Key": by("key").value } : {};
  for (;;) {
    const answer = await fetch("/v1/denoise", { method: "POST", body: form, headers, signal: running.signal });
    if (answer.ok) return answer;
    const problem = await answer.json().catch(() => ({ title: `Error ${answer.status}`, detail: "" }));
    if (answer.status === 401) by("key-label").hidden = false;
    const wait = Number(answer.headers.get("Retry-After"));
    if (![429, 503].includes(answer.status) || !wait) throw new Error(`${problem.title}. ${problem.detail}`);
    say(`${problem.title}. Trying again in ${wait} seconds …`);
    await new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, wait * 1000);
      running.signal.addEventListener("abort", () => { clearTimeout(timer); reject(running.signal.reason); }, { once: true });
    });
  }
}

async function denoise() {
  running = new AbortController();
  by("go").disabled = true;
  by("stop").hidden = false;
  say("Denoising …");
  const options = {
    sigma: by("mode").value === "auto" ? "auto" : by("sigma").value,
    color: by("color").checked ? "rgb" : "gray",
    strength: by("strength").value,
  };
  const began = performance.now();
  try {
    const answer = await request(options, by("reference").files[0]);
    const seconds = (performance.now() - began) / 1000;
    const result = await answer.blob();
    // Browsers cannot show TIFF, so for a TIFF result or input the service is asked for a PNG as well.
    const shown = result.type === "image/tiff" ? await (await request({ ...options, format: "png" })).blob() : result;
    const tiff = result.type === "image/tiff" || picture.type === "image/tiff";
    const before = tiff ? await (await request({ ...options, strength: 0, format: "png" })).blob() : picture;
    by("after").src = show("after", shown);
    by("before").src = show("before", before);
    by("download").href = show("result", result);
    const suffix = result.type.replace("image/", "").replace("jpeg", "jpg");
    by("download").download = `${(picture.name || "picture").replace(/\.[^.]*$/, "")}-denoised.${suffix}`;
    figures(answer.headers, seconds);
    by("result").hidden = false;
    say("");
  } catch (error) {
    say(error.name === "AbortError" ? "Stopped." : error.message, error.name !== "AbortError");
  } finally {
    running = null;
    by("go").disabled = false;
    by("stop").hidden = true;
  }
}

function figures(headers, seconds) {
  const rows = [
    ["Sigma", headers.get("X-Sigma")],
    ["Confidence of the estimate", headers.get("X-Sigma-Confidence")],
    ["Warnings", headers.get("X-Warnings")],
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
by("form").addEventListener("submit", (event) => { event.preventDefault(); if (!running) denoise(); });
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
