// Elements of the page, and what is announced to screen readers.

export const by = (id) => document.getElementById(id);

/** Return a new element with properties and children. A property named data or aria-… becomes an attribute. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** Show a sentence in the status line, which screen readers read out. */
export function say(text, { error = false } = {}) {
  by("status").textContent = text;
  by("status").classList.toggle("error", error);
}

/** Switch a button on or off. It stays focusable: a disabled button would lose the focus of the keyboard. */
export function enable(button, on) {
  button.setAttribute("aria-disabled", String(!on));
}

/** Call a function when a button is pressed, unless the button is switched off. */
export function onPress(button, action) {
  button.addEventListener("click", (event) => {
    if (button.getAttribute("aria-disabled") !== "true") action(event);
  });
}

/** Offer a blob or a URL to the user as a file. */
export function saveAs(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Return a promise that resolves after some milliseconds, or rejects when the signal aborts. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Return a function that calls another one once no further call has come for some milliseconds. */
export function settled(milliseconds, action) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds);
  };
}
