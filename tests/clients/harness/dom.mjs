// A document for react-dom. Only the globals that it needs: the network stays Node's own.
import { Window } from "happy-dom";

const window = new Window({ url: "http://localhost/" });
globalThis.window = window;
globalThis.document = window.document;
globalThis.navigator ??= window.navigator;

/** A fresh element in the document. */
export function element() {
  return document.body.appendChild(document.createElement("div"));
}
