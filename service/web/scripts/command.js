// The request for the chosen picture as a command for a shell.

import { attachmentsOf } from "./attachments.js";
import { by } from "./dom.js";
import { resultName } from "./formats.js";
import { hasKey } from "./key.js";
import { current, events as pictures } from "./pictures.js";
import { computation, events as settings, factor, output, strength, task } from "./settings.js";

function show() {
  const picture = current();
  const name = picture?.name || "picture.png";
  const options = { ...computation(), ...output(), ...(strength() === 1 ? {} : { strength: strength() }) };
  const kind = options.format || picture?.kind || "png";
  const words = ["curl", "-sS", "--fail-with-body"];
  if (hasKey()) words.push("-H", '"X-API-Key: $N3DENOISE_KEY"');
  words.push("-o", quoted(resultName(name, `image/${kind === "heic" ? "jpeg" : kind}`, factor())), "-F", quoted(`image=@${name}`));
  for (const id of attachmentsOf(task())) if (picture?.[id]) words.push("-F", quoted(`${id}=@${picture[id].name}`));
  words.push(quoted(`${location.origin}/v1/${task()}?${new URLSearchParams(options)}`));
  by("command").textContent = words.join(" ");
  by("copy-state").textContent = "";
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

async function copy() {
  try {
    await navigator.clipboard.writeText(by("command").textContent);
    by("copy-state").textContent = "Copied.";
  } catch {
    // Browsers allow copying only over HTTPS and on this machine: select the text for the user to copy.
    getSelection().selectAllChildren(by("command"));
    by("copy-state").textContent = "Selected: copy it with Ctrl+C.";
  }
}

export function setUpCommand() {
  by("copy").addEventListener("click", copy);
  for (const name of ["selected", "changed"]) pictures.addEventListener(name, show);
  for (const name of ["computation", "strength", "output"]) settings.addEventListener(name, show);
  show();
}
