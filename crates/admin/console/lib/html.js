// @ts-check
/** Markup: tagged templates, compiled in the browser, with text always as text. */
import { h } from "preact";
import htm from "htm";

/** @type {(strings: TemplateStringsArray, ...values: any[]) => any} */
export const html = htm.bind(h);
