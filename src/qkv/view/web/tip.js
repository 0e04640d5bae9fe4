// @ts-check
/** What is under the pointer or the keyboard, in words: a small box beside it, read aloud. */

import { element } from "./draw.js";

/** @typedef {{ element: HTMLElement, show(rows: [string, string][], box: DOMRect): void, hide(): void }} Tip */

/** @returns {Tip} */
export function makeTip() {
  const tip = element('<dl class="tip" role="status" hidden></dl>');
  return {
    element: tip,
    show(rows, box) {
      tip.replaceChildren(...rows.flatMap(([name, value]) => {
        const [dt, dd] = ["dt", "dd"].map((tag) => document.createElement(tag));
        [dt.textContent, dd.textContent] = [name, value];
        return [dt, dd];
      }));
      tip.hidden = false;
      const beside = box.right + 12 + tip.offsetWidth < innerWidth ? box.right + 12 : box.left - 12 - tip.offsetWidth;
      const below = box.bottom + 12 + tip.offsetHeight < innerHeight ? box.bottom + 12 : box.top - 12 - tip.offsetHeight;
      Object.assign(tip.style, { left: `${Math.max(beside, 4)}px`, top: `${Math.max(below, 4)}px` });
    },
    hide() {
      tip.hidden = true;
    },
  };
}
