// @ts-check
/** The list of what can be shown, and the search in it: thousands of entries, made as they scroll in. */

import { element } from "./draw.js";
import { plain } from "./model.js";

const CHUNK = 200; // entries made at a time

/**
 * @param {import("./model.js").Page} page @param {(map: number) => void} open
 */
export function makeList(page, open) {
  const root = element(`<nav><input type="search" placeholder="Search titles and tokens" aria-label="Search figures">
<p class="found" role="status"></p><ol role="listbox" tabindex="0" aria-label="Figures"></ol></nav>`);
  const [input, status, list] = [root.querySelector("input"), root.querySelector("p"), root.querySelector("ol")];
  let found = page.maps.map((_, index) => index); // what the search left, in order
  let current = 0;
  /** @type {string[] | null} */
  let searchable = null;

  function more() {
    const next = found.slice(list.children.length, list.children.length + CHUNK);
    list.append(...next.map((index) => {
      const { title, kind, target, source } = page.maps[index];
      const option = element('<li role="option" dir="auto"></li>');
      option.textContent = [title || `Figure ${index + 1}`, kind === "attention" ? "" : kind].filter(Boolean).join(" · ");
      option.dataset.figure = String(index);
      option.setAttribute("aria-selected", String(index === current));
      const size = document.createElement("small");
      size.textContent = `${target.length} × ${source.length}`;
      option.append(size);
      return option;
    }));
  }

  function search() {
    /** @type {string[]} */
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    searchable ??= page.maps.map(({ title, note, kind, target, source }) =>
      plain([title, note, kind, ...target, ...source].join(" ")).toLowerCase());
    found = page.maps.map((_, index) => index)
      .filter((index) => words.every((word) => searchable?.[index].includes(word)));
    list.replaceChildren();
    more();
    status.textContent = words.length ? `${found.length} of ${page.maps.length}` : "";
  }

  /** @param {number} index of what is shown now */
  function select(index) {
    current = index;
    for (const option of list.children)
      option.setAttribute("aria-selected", String(option.dataset.figure === String(index)));
  }

  /** Show the next or the previous of what was found. @param {number} by */
  function turn(by) {
    const place = Math.min(Math.max(found.indexOf(current) + by, 0), found.length - 1);
    if (place < 0) return;
    while (list.children.length <= place) more();
    open(found[place]);
    list.children[place].scrollIntoView({ block: "nearest" });
  }

  input.addEventListener("input", search);
  list.addEventListener("click", (/** @type {any} */ event) => {
    const option = event.target.closest("li");
    if (option) open(Number(option.dataset.figure));
  });
  list.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    turn(event.key === "ArrowDown" ? 1 : -1);
  });
  list.addEventListener("scroll", () => {
    if (list.scrollTop + list.clientHeight > list.scrollHeight - 400) more();
  });
  more();
  return { element: root, select, turn };
}
