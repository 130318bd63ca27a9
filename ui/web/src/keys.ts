// "/" goes to the one-line entry or the search; j and k walk through a list,
// Enter opens. Nothing happens while somebody types.
export function keys(): void {
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || typing(e.target)) return;
    if (e.key === "/") {
      const field = document.querySelector<HTMLInputElement>("[data-slash], input[type=search]");
      if (!field) return;
      e.preventDefault();
      field.focus();
      field.scrollIntoView({ block: "center" });
    } else if (e.key === "j" || e.key === "k") {
      walk(e.key === "j" ? 1 : -1);
    }
  });
}

function typing(t: EventTarget | null): boolean {
  return t instanceof HTMLElement && (t.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName));
}

function walk(step: number): void {
  const links = [...document.querySelectorAll<HTMLAnchorElement>("table[data-rows] tbody td.what a")];
  if (links.length === 0) return;
  const at = links.indexOf(document.activeElement as HTMLAnchorElement);
  const to = links[Math.min(links.length - 1, Math.max(0, at < 0 ? (step > 0 ? 0 : links.length - 1) : at + step))];
  to?.focus();
  to?.scrollIntoView({ block: "nearest" });
}
