// The API reference at /docs: Swagger UI, with names and roles for screen readers where it has none.

const page = document.getElementById("swagger-ui");

/** What to add: the elements, and the attributes of each, or null to remove one. */
const ADDITIONS = [
  [".information-container", () => ({ role: "banner" })],
  [".scheme-container", () => ({ role: "region", "aria-label": "Server and keys" })],
  [".opblock-tag, .models > h4", () => ({ "aria-level": 2 })],
  [".opblock :is(h4, h5)", () => ({ "aria-level": 3 })],
  // The button around this link does the same, and a link inside a button confuses screen readers.
  [".opblock-summary-control a", () => ({ href: null })],
  ["#servers", () => ({ "aria-label": "Server" })],
  ["[data-param-name] :is(input, select, textarea)", (field) => ({ "aria-label": field.closest("[data-param-name]").dataset.paramName })],
  [".opblock-section-request-body :is(input, select, textarea)", (field) => ({ "aria-label": nameOf(field) })],
  [".responses-wrapper select", () => ({ "aria-label": "Media type of the response" })],
  [".responses-table", (table) => ({ "aria-label": `${table.matches(".live-responses-table") ? "Response" : "Responses"} of ${operation(table)}` })],
  ["pre", () => ({ tabindex: 0 })],
];

/** Return the name of a field of a request body: that of its row, or of the body as a whole. */
function nameOf(field) {
  return field.closest("tr")?.querySelector(".parameter__name")?.firstChild.textContent || "Request body";
}

/** Return the method and the path of the operation that an element belongs to. */
function operation(element) {
  const words = element.closest(".opblock").querySelectorAll(".opblock-summary-method, .opblock-summary-path");
  return [...words].map((word) => word.textContent).join(" ");
}

function add() {
  for (const [selector, attributes] of ADDITIONS) {
    for (const element of page.querySelectorAll(selector)) {
      for (const [name, value] of Object.entries(attributes(element))) {
        if (value === null) element.removeAttribute(name);
        else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
      }
    }
  }
}

new MutationObserver(add).observe(page, { childList: true, subtree: true });
globalThis.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  syntaxHighlight: { activated: false }, // some of its colors are hard to read
});
