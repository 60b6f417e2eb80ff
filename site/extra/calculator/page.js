"use strict";
// The page: what is chosen and what is shown. The arithmetic is in calculator.js.

const $ = (id) => document.getElementById(id);
const SIZES = { L: "layers L", d: "width d", h: "heads h", k: "width of the keys k", f: "inner width f", V: "vocabulary V", S: "positions S" };
const LABELS = { rank: "rank r", bottleneck: "bottleneck m", num_virtual_tokens: "virtual tokens p", dimension: "dimension D", reduction_factor: "reduction factor R" };
const COLOURS = { weights: "#8a8a94", gradients: "#e69f00", moments: "#56b4e9", "master weights": "#009e73", activations: "#cc79a7", "keys and values": "#cc79a7" };
const settings = { rank: 8, bottleneck: 64, num_virtual_tokens: 20, dimension: 1000, reduction_factor: 8 };

const gigabytes = (bytes) => (bytes / 1e9).toFixed(bytes < 1e8 ? 4 : 2);
const numbers = (x) => x.toLocaleString("en");

function make(tag, text, into, className = "") {
  const element = into.appendChild(document.createElement(tag));
  element.textContent = text;
  element.className = className;
  return element;
}

// A labelled field for a whole number.
function field(into, label, value, changed) {
  const outer = make("label", `${label} `, into);
  const input = outer.appendChild(document.createElement("input"));
  Object.assign(input, { type: "number", min: 1, value });
  input.addEventListener("input", () => changed(Number(input.value)));
}

let model = { ...MODELS["Llama-2-7B"] };
const batch = () => ({ sequences: Number($("sequences").value), tokens: Number($("tokens").value) });

function showSizes() {
  const box = $("sizes");
  box.replaceChildren(box.querySelector("legend"));
  for (const [name, label] of Object.entries(SIZES)) field(box, label, model[name], (value) => ((model[name] = value), show()));
  make("p", `A ${model.kind}${model.tied ? ", whose head is its table of embeddings" : ""}. Change a number for a model of your own.`, box);
}

function showSettings() {
  $("settings").replaceChildren();
  for (const name of FORMULAS[model.kind][$("choice").value].settings)
    field($("settings"), LABELS[name], settings[name], (value) => ((settings[name] = value), show()));
}

// A bar of parts, and the same in words.
function showParts(into, title, parts, card) {
  make("h3", `${title}: ${gigabytes(total(parts))} GB`, into);
  const bar = make("div", "", into, "parts");
  bar.setAttribute("aria-hidden", "true"); // the list below says the same
  const list = make("ul", "", into);
  for (const [name, bytes] of Object.entries(parts)) {
    const piece = make("i", "", bar);
    piece.style.width = `${(100 * bytes) / Math.max(total(parts), card)}%`;
    piece.style.background = COLOURS[name];
    const item = make("li", "", list);
    make("span", "", item, "key").style.background = COLOURS[name];
    item.append(`${name}: ${gigabytes(bytes)} GB`);
  }
}

function showOne(choice, card) {
  const box = $("shown");
  box.replaceChildren();
  const why = whyNot(model, choice, settings, batch());
  if (why) return void make("p", `This cannot be: ${why}.`, box, "wrong");
  const cost = costOf(model, choice, settings, batch(), $("four").checked);
  make("p", `${numbers(cost.trained)} of ${numbers(cost.all)} numbers train, ${((100 * cost.trained) / cost.all).toPrecision(3)}%.`, box);
  make("p", `trained = ${written(FORMULAS[model.kind][choice].trained)}${choice === "full fine-tuning" && model.tied ? " − V d" : ""}`, box, "formula");
  const spare = card - total(cost.training) / 1e9;
  make("p", spare >= 0 ? `Training fits on the card, ${spare.toFixed(1)} GB to spare.` : `Training needs ${(-spare).toFixed(1)} GB more than the card has.`, box, spare >= 0 ? "right" : "wrong");
  showParts(box, "To train", cost.training, 1e9 * card);
  make("p", `activations = ${written(FORMULAS[model.kind][choice].kept)} bytes`, box, "formula");
  showParts(box, "To serve", cost.serving, 1e9 * card);
}

function showAll(card) {
  $("rows").replaceChildren();
  for (const choice of Object.keys(FORMULAS[model.kind])) {
    const row = $("rows").appendChild(document.createElement("tr"));
    make("td", choice, row);
    const why = whyNot(model, choice, settings, batch());
    if (why) {
      make("td", why, row).colSpan = 5;
      continue;
    }
    const cost = costOf(model, choice, settings, batch(), $("four").checked);
    const fits = total(cost.training) <= 1e9 * card;
    make("td", numbers(cost.trained), row, "number");
    make("td", gigabytes(total(cost.training)) + (cost.packed ? " (four bits)" : ""), row, "number");
    make("td", fits ? "✓ yes" : "✗ no", row, fits ? "right" : "wrong");
    make("td", gigabytes(total(cost.serving)), row, "number");
    make("td", `${gigabytes(cost.stored)} GB`, row, "number");
  }
}

function show() {
  const card = Number($("card").value);
  showOne($("choice").value, card);
  showAll(card);
}

function chooseModel() {
  model = { ...MODELS[$("model").value] };
  if (Number($("tokens").value) > model.S) $("tokens").value = model.S / 2;
  showSizes();
  showSettings();
  show();
}

for (const name of Object.keys(MODELS)) make("option", name, $("model"));
for (const choice of Object.keys(FORMULAS.GPT)) make("option", choice, $("choice"));
$("model").value = "Llama-2-7B";
$("choice").value = "LoRA on q and v";
$("model").addEventListener("change", chooseModel);
$("choice").addEventListener("change", () => (showSettings(), show()));
for (const id of ["sequences", "tokens", "card", "four"]) $(id).addEventListener("input", show);
chooseModel();
