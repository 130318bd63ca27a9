// What script adds to the search page: suggestions while one types, a search
// that shows what it has as it goes on and can be stopped, and details beside
// the results. Without it each of them is a page of its own.
import { suggestions } from "./suggest";

export function search(): void {
  const box = document.querySelector<HTMLElement>("[data-suggest]");
  if (box) suggestions(box);
  ownRange();
  const found = document.querySelector<HTMLElement>("[data-search-stream]");
  if (!found) return;
  if (found.dataset.searchStream) void follow(found.dataset.searchStream);
  details();
  picking();
}

// ownRange makes Enter search the range that was just typed.
function ownRange(): void {
  const form = document.getElementById("search-form");
  const range = form?.querySelector<HTMLInputElement>("input[type=hidden][name=range]");
  for (const f of form?.querySelectorAll<HTMLInputElement>("input[type=datetime-local]") ?? []) {
    f.addEventListener("input", () => { if (range) range.value = "own"; });
  }
}

interface Piece { id: string; html: string; done?: boolean }

// follow reads the answer line by line. Stopping closes the connection, which
// ends the search on the hub too.
async function follow(address: string): Promise<void> {
  const control = new AbortController();
  ready(control);
  try {
    const answer = await fetch(address, { signal: control.signal });
    if (!answer.ok || !answer.body) throw new Error(String(answer.status));
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let done = false;
    for (;;) {
      const got = await reader.read();
      if (got.done) break;
      rest += got.value;
      const lines = rest.split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const piece = JSON.parse(line) as Piece;
        show(piece);
        done ||= !!piece.done;
        if (!piece.done) ready(control);
      }
    }
    if (!done) say("broken");
  } catch {
    say(control.signal.aborted ? "stopped" : "broken");
  }
}

function show(p: Piece): void {
  const old = document.getElementById(p.id);
  if (!old) return;
  const chosen = new Set([...old.querySelectorAll<HTMLInputElement>("input[name=event]:checked")].map((b) => b.value));
  const at = document.activeElement instanceof HTMLAnchorElement && old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const side = old.querySelector<HTMLElement>("#search-side");
  const opened = side?.closest("tr")?.previousElementSibling?.querySelector("a[data-search-side]")?.getAttribute("href");
  const made = document.createElement("template");
  made.innerHTML = p.html;
  old.replaceWith(made.content);
  const now = document.getElementById(p.id);
  for (const b of now?.querySelectorAll<HTMLInputElement>("input[name=event]") ?? []) b.checked = chosen.has(b.value);
  if (side) place(side, opened ? now?.querySelector<HTMLElement>(`a[href="${CSS.escape(opened)}"]`) ?? null : null);
  if (at) now?.querySelector<HTMLElement>(`a[href="${CSS.escape(at)}"]`)?.focus({ preventScroll: true });
  count();
}

// ready offers to stop, and hides what only those without script need.
function ready(control: AbortController): void {
  for (const b of document.querySelectorAll<HTMLButtonElement>("[data-search-stop]")) {
    b.hidden = false;
    b.addEventListener("click", () => control.abort());
  }
  for (const e of document.querySelectorAll<HTMLElement>("[data-search-noscript]")) e.hidden = true;
}

// say shows why the answer ends here; what was found stands.
function say(why: "stopped" | "broken"): void {
  const page = document.querySelector<HTMLElement>("[data-search-stream]");
  const line = document.querySelector<HTMLElement>("#search-results .progress [role=status]");
  if (line) line.textContent = (why === "stopped" ? page?.dataset.stopped : page?.dataset.broken) ?? "";
  for (const b of document.querySelectorAll<HTMLElement>("[data-search-stop], #search-results .progress svg")) b.remove();
  for (const e of document.querySelectorAll<HTMLElement>("[data-search-noscript]")) e.hidden = false;
}

// place puts the details beside the list; in a narrow window an event is opened
// below its line, so that nobody has to look for it at the end of the page.
function place(side: HTMLElement, link: HTMLElement | null): void {
  const row = link?.closest("tr");
  const before = side.closest("tr.side-row");
  if (row && matchMedia("(max-width: 1099px)").matches) {
    const own = document.createElement("tr");
    own.className = "side-row";
    const cell = own.insertCell();
    cell.colSpan = row.cells.length;
    cell.append(side);
    row.after(own);
  } else {
    document.querySelector(".found-aside")?.prepend(side);
  }
  before?.remove();
}

// closer ends the details and leads back to where one was in the list.
function closer(side: HTMLElement, close: () => void): void {
  const b = document.createElement("button");
  b.type = "button";
  b.className = "close no-print";
  b.textContent = side.dataset.close ?? "";
  b.addEventListener("click", close);
  side.querySelector("article")?.append(b);
}

// details opens events and fields beside the results.
function details(): void {
  const side = document.getElementById("search-side");
  if (!side) return;
  let opener: HTMLElement | null = null;
  const close = () => {
    side.replaceChildren();
    place(side, null);
    document.querySelector("tr.is-chosen")?.classList.remove("is-chosen");
    opener?.focus({ preventScroll: true });
  };
  document.addEventListener("click", async (e) => {
    if (e.defaultPrevented || e.button !== 0 || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey) return;
    const link = e.target instanceof Element ? e.target.closest<HTMLAnchorElement>("a[data-search-side]") : null;
    if (!link) return;
    e.preventDefault();
    opener = link;
    const answer = await fetch(link.href + "&part=1").catch(() => null);
    if (!answer?.ok) {
      location.assign(link.href); // its page says what is wrong
      return;
    }
    side.innerHTML = await answer.text();
    place(side, link);
    closer(side, close);
    for (const row of document.querySelectorAll("tr.is-chosen")) row.classList.remove("is-chosen");
    link.closest("tr")?.classList.add("is-chosen");
    const head = side.querySelector<HTMLElement>("[tabindex='-1']");
    head?.focus({ preventScroll: true });
    if (side.closest("tr")) link.scrollIntoView({ block: "nearest" });
    else if (!side.contains(link) && matchMedia("(max-width: 1099px)").matches) head?.scrollIntoView({ block: "center" });
    else side.parentElement?.scrollTo({ top: 0 });
  });
  side.addEventListener("keydown", (e) => { // back to where one was in the list
    if (e.key === "Escape") opener?.focus();
  });
}

// picking says how many events are chosen where they can be kept, and chooses
// all at once.
function picking(): void {
  document.addEventListener("change", (e) => {
    if (!(e.target instanceof HTMLInputElement)) return;
    const all = e.target.closest("[data-pick-all]") !== null;
    if (all) for (const b of boxes()) b.checked = e.target.checked;
    if (all || e.target.name === "event") count();
  });
  count();
}

function boxes(): HTMLInputElement[] {
  return [...document.querySelectorAll<HTMLInputElement>("#search-results input[name=event]")];
}

function count(): void {
  const n = boxes().filter((b) => b.checked).length;
  const all = document.querySelector<HTMLElement>("[data-pick-all]");
  const head = all?.querySelector("input");
  if (all && head) {
    all.hidden = false;
    head.checked = n > 0 && n === boxes().length;
    head.indeterminate = n > 0 && !head.checked;
  }
  const box = document.getElementById("take-box");
  const line = box?.querySelector("summary");
  if (!box || !line) return;
  box.dataset.plain ??= line.textContent ?? "";
  box.classList.toggle("has-chosen", n > 0);
  line.textContent = n > 0 ? (box.dataset.searchTake ?? "").replace("{count}", String(n)) : box.dataset.plain;
}
