// Buttons that make sense only with script are hidden without it.
export function buttons(): void {
  for (const b of document.querySelectorAll<HTMLButtonElement>("[data-print]")) {
    b.hidden = false;
    b.addEventListener("click", () => window.print());
  }
  for (const b of document.querySelectorAll<HTMLButtonElement>("[data-copy]")) {
    const source = document.getElementById(b.dataset.copy ?? "");
    if (!source || !navigator.clipboard) continue; // a page over plain HTTP may not write to the clipboard
    b.hidden = false;
    b.addEventListener("click", async () => {
      await navigator.clipboard.writeText(source.textContent ?? "");
      b.textContent = b.dataset.copied ?? "";
    });
  }
}
