// Ways to compare: a slider, side by side, the difference, and the original while a button is held.

import { by } from "./dom.js";
import { events, strength } from "./settings.js";

const SHIFTED_STEP = 10;
const DIRECTIONS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 };

function showSlider() {
  by("stage").style.setProperty("--at", by("slider").value / 100);
  by("slider").setAttribute("aria-valuetext", `${by("slider").value} % noisy`);
}

function hold(on) {
  by("stage").classList.toggle("original", on);
  by("hold").setAttribute("aria-pressed", String(on));
}

export function setUpComparison() {
  for (const radio of document.querySelectorAll("input[name=compare]")) {
    radio.addEventListener("input", () => { by("stage").dataset.mode = radio.value; });
  }
  by("slider").addEventListener("input", showSlider);
  by("slider").addEventListener("keydown", (event) => {
    const direction = DIRECTIONS[event.key];
    if (!direction || !event.shiftKey) return; // the browser moves the slider by steps of 1
    event.preventDefault();
    by("slider").valueAsNumber += direction * SHIFTED_STEP;
    showSlider();
  });
  // The slider lies on the picture: its handle must not move the picture as well.
  by("slider").addEventListener("pointerdown", (event) => event.stopPropagation());
  showSlider();

  for (const name of ["pointerdown", "pointerup", "pointercancel", "pointerleave"]) {
    by("hold").addEventListener(name, () => hold(name === "pointerdown"));
  }
  by("hold").addEventListener("contextmenu", (event) => event.preventDefault()); // of a long touch
  for (const name of ["keydown", "keyup"]) {
    by("hold").addEventListener(name, (event) => [" ", "Enter"].includes(event.key) && hold(name === "keydown"));
    by("stage").addEventListener(name, (event) => event.key === "o" && hold(name === "keydown"));
  }
  for (const id of ["hold", "stage"]) by(id).addEventListener("focusout", () => hold(false));

  const blend = () => by("stage").style.setProperty("--strength", strength());
  events.addEventListener("strength", blend);
  blend();
}
