// What script adds to pages that are complete without it: they stay fresh,
// say when they are not, and can be worked with the keyboard.
import "htmx.org/dist/htmx.esm.js"; // puts itself on window, where its extension looks for it
import "htmx.org/dist/ext/hx-sse.js";
import { watch } from "./fresh";
import { keys } from "./keys";
import { chronology } from "./chronology";
import { buttons } from "./buttons";
import { search } from "./search";

watch();
keys();
chronology();
buttons();
search();
