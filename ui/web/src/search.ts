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
  const made = document.createElement("template");
  made.innerHTML = p.html;
  old.replaceWith(made.content);
  const now = document.getElementById(p.id);
  for (const b of now?.querySelectorAll<HTMLInputElement>("input[name=event]") ?? []) b.checked = chosen.has(b.value);
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

// details opens events and fields beside the results.
function details(): void {
  const side = document.getElementById("search-side");
  if (!side) return;
  let opener: HTMLElement | null = null;
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
    for (const row of document.querySelectorAll("tr.is-chosen")) row.classList.remove("is-chosen");
    link.closest("tr")?.classList.add("is-chosen");
    const head = side.querySelector<HTMLElement>("[tabindex='-1']");
    const beside = side.getBoundingClientRect().left > link.getBoundingClientRect().left + 50;
    head?.focus({ preventScroll: beside });
    if (beside) side.parentElement?.scrollTo({ top: 0 });
  });
  side.addEventListener("keydown", (e) => { // back to where one was in the list
    if (e.key === "Escape") opener?.focus();
  });
}

// picking says how many events are chosen where they can be kept.
function picking(): void {
  document.addEventListener("change", (e) => {
    if (e.target instanceof HTMLInputElement && e.target.name === "event") count();
  });
  count();
}

function count(): void {
  const box = document.getElementById("take-box");
  const line = box?.querySelector("summary");
  if (!box || !line) return;
  box.dataset.plain ??= line.textContent ?? "";
  const n = document.querySelectorAll("#search-results input[name=event]:checked").length;
  line.textContent = n > 0 ? (box.dataset.searchTake ?? "").replace("{count}", String(n)) : box.dataset.plain;
}
