// Suggestions under the query, for the word at the caret: names of fields,
// then values of a field. Arrow keys choose, Enter or Tab takes, Escape closes
// (the combobox pattern of WAI-ARIA).
interface Option { value: string; label?: string }

export function suggestions(box: HTMLElement): void {
  const input = box.querySelector("input");
  const hints = box.querySelector("datalist");
  if (!input || !hints) return;
  const fields: Option[] = [...hints.options].filter((o) => o.value.endsWith(":")).map((o) => ({ value: o.value, label: o.label }));
  input.removeAttribute("list");

  const list = document.createElement("ul");
  list.id = "suggestions";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", box.dataset.suggestLabel ?? "");
  list.hidden = true;
  const status = document.createElement("p");
  status.className = "visually-hidden";
  status.setAttribute("role", "status");
  box.append(list, status);
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-expanded", "false");
  input.setAttribute("aria-controls", list.id);

  let at = -1;
  let options: Option[] = [];
  let asked: AbortController | null = null;
  let timer = 0;

  const close = () => {
    list.hidden = true;
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const mark = (n: number) => {
    at = n;
    [...list.children].forEach((o, i) => o.setAttribute("aria-selected", String(i === n)));
    if (n < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", `suggestion-${n}`);
      list.children[n]?.scrollIntoView({ block: "nearest" });
    }
  };
  const open = (found: Option[]) => {
    const chosen = options[at]?.value; // somebody may be quicker than the answer
    options = found;
    list.replaceChildren(...found.map((o, i) => {
      const li = document.createElement("li");
      li.id = `suggestion-${i}`;
      li.setAttribute("role", "option");
      li.setAttribute("aria-selected", "false");
      const value = document.createElement("code");
      value.textContent = o.value;
      li.append(value);
      if (o.label && o.label !== o.value) {
        const word = document.createElement("span");
        word.className = "small";
        word.textContent = o.label;
        li.append(" ", word);
      }
      li.addEventListener("mousedown", (e) => { // before the field loses the focus
        e.preventDefault();
        take(i);
      });
      return li;
    }));
    list.hidden = found.length === 0;
    mark(found.findIndex((o) => o.value === chosen));
    input.setAttribute("aria-expanded", String(found.length > 0));
    status.textContent = found.length === 0 ? "" : (box.dataset.suggestCount ?? "").replace("{count}", String(found.length));
  };
  const take = (n: number) => {
    const o = options[n];
    const w = wordAt(input);
    if (!o || !w) return;
    const field = w.field !== null;
    const text = field ? `${w.field}${w.operator}${quoted(o.value)} ` : o.value;
    input.setRangeText(text, w.from, w.to, "end");
    close();
    if (!field) look(); // its values at once
  };
  const look = () => {
    asked?.abort();
    const w = wordAt(input);
    if (!w) return close();
    if (w.field === null) {
      const typed = w.text.toLowerCase();
      return typed === "" ? close() : open(fields.filter((f) => f.value.startsWith(typed) || (typed.length > 1 && f.label?.includes(typed))).slice(0, 12));
    }
    const control = asked = new AbortController();
    const q = new URLSearchParams({ field: w.field, prefix: w.text });
    fetch(`${box.dataset.suggest}?${q}`, { signal: control.signal })
      .then((a) => (a.ok ? a.json() : []))
      .then((found: Option[]) => { if (!control.signal.aborted) open(found); })
      .catch(() => { if (!control.signal.aborted) close(); });
  };

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, 150);
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (e) => {
    if (e.isComposing) return; // Enter ends the conversion of kana
    if (e.key === "ArrowDown" && list.hidden) return look();
    if (list.hidden) return;
    switch (e.key) {
      case "ArrowDown": mark((at + 1) % options.length); break;
      case "ArrowUp": mark(at <= 0 ? options.length - 1 : at - 1); break;
      case "Escape": close(); break;
      case "Enter": if (at < 0) return close(); take(at); break;
      case "Tab": if (at < 0) return close(); take(at); break;
      default: return;
    }
    e.preventDefault();
  });
}

interface Word { from: number; to: number; field: string | null; operator: string; text: string }

// wordAt is the word that ends at the caret; null within quotes that began
// before a field.
function wordAt(input: HTMLInputElement): Word | null {
  const to = input.selectionStart ?? input.value.length;
  const before = input.value.slice(0, to);
  const got = /(?:^|[\s(|,])-?(?:([A-Za-z_@][\w.@]*)(:|=|!=))?("[^"]*|[^\s"():=|,]*)$/.exec(before);
  if (!got) return null;
  const [, field, operator, text] = got;
  const start = (field ?? "").length + (operator ?? "").length + (text ?? "").length;
  return { from: to - start, to, field: field ?? null, operator: operator ?? "", text: (text ?? "").replace(/^"/, "") };
}

function quoted(value: string): string {
  return /^[\w.@:/-]+$/.test(value) && !value.includes(":") ? value : `"${value.replaceAll('"', '""')}"`;
}
