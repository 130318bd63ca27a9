// New entries stand on top. Somebody who is reading further down is not moved:
// the new ones wait, and a button says how many there are.
const region = "room-entries";

export function chronology(): void {
  const button = document.getElementById("new-entries");
  if (button) wait(button);
  document.addEventListener("htmx:after:request", (e) => {
    const ctx = (e as CustomEvent).detail?.ctx;
    const form = ctx?.sourceElement;
    if (!(form instanceof HTMLFormElement) || form.id !== "write" || ctx.response?.status !== 204) return;
    form.reset();
    form.querySelector("#write-fault")?.replaceChildren();
    form.querySelector<HTMLInputElement>("[data-slash]")?.focus();
  });
}

function wait(button: HTMLElement): void {
  const seen = () => newest(document.getElementById(region));
  let known = seen();
  const reading = () => {
    const list = document.getElementById(region);
    return !!list && list.getBoundingClientRect().top < 0;
  };
  new MutationObserver(() => {
    const now = seen();
    const fresh = now - known;
    if (fresh <= 0 || !reading()) {
      known = now;
      button.hidden = true;
      return;
    }
    const text = (button.dataset.new ?? "").replace("{count}", String(fresh));
    if (button.textContent !== text) button.textContent = text; // writing it always would call this observer for ever
    button.hidden = false;
  }).observe(document.body, { subtree: true, childList: true });
  document.addEventListener("scroll", () => { // back at the top: they have been seen
    if (reading()) return;
    known = seen();
    button.hidden = true;
  }, { passive: true });
  button.addEventListener("click", () => {
    known = seen();
    button.hidden = true;
    document.getElementById("chronology")?.scrollIntoView();
  });
}

function newest(list: Element | null): number {
  return Number(list?.querySelector<HTMLElement>("[data-entry]")?.dataset.entry ?? 0);
}
