// The hub beats every five seconds. A page that hears nothing for three beats
// says so; its words are on it from the start.
const patience = 17_000;

type State = "fresh" | "stale" | "gone";

export function watch(): void {
  const live = document.getElementById("live");
  const line = document.getElementById("connection");
  if (!live || !line) return;
  let last = Date.now();
  let gone = false;
  const show = (s: State) => { if (line.dataset.now !== s) line.dataset.now = s; };

  live.addEventListener("beat", (e) => {
    last = Date.now();
    const at = String((e as CustomEvent).detail?.data ?? "");
    for (const t of line.querySelectorAll("[data-clock], [data-clock-stale]")) t.textContent = at;
    if (!gone) show("fresh");
  });
  // The session ended or a right was taken: trying again does not help.
  live.addEventListener("gone", () => { gone = true; show("gone"); live.remove(); });
  live.addEventListener("htmx:sse:error", () => { if (!gone) show("stale"); });
  setInterval(() => { if (!gone && Date.now() - last > patience) show("stale"); }, 1000);
}
