"use strict";
// What a method costs on a model: trained numbers, bytes for training, bytes for serving. The formulas are in formulas.js.

// Dimensions: L layers, d width, h heads, k width of all keys of a token, f inner width, V vocabulary, S positions.
const MODELS = {
  "the course's tiny": { kind: "GPT", L: 3, d: 64, h: 4, k: 64, f: 256, V: 10, S: 64, tied: false },
  "GPT-2, 124 million": { kind: "GPT", L: 12, d: 768, h: 12, k: 768, f: 3072, V: 50257, S: 1024, tied: true },
  "GPT-2 medium, 355 million": { kind: "GPT", L: 24, d: 1024, h: 16, k: 1024, f: 4096, V: 50257, S: 1024, tied: true },
  "GPT-2 large, 774 million": { kind: "GPT", L: 36, d: 1280, h: 20, k: 1280, f: 5120, V: 50257, S: 1024, tied: true },
  "GPT-2 XL, 1.6 billion": { kind: "GPT", L: 48, d: 1600, h: 25, k: 1600, f: 6400, V: 50257, S: 1024, tied: true },
  "SmolLM2, 135 million": { kind: "Llama", L: 30, d: 576, h: 9, k: 192, f: 1536, V: 49152, S: 8192, tied: true },
  "Llama-2-7B": { kind: "Llama", L: 32, d: 4096, h: 32, k: 4096, f: 11008, V: 32000, S: 4096, tied: false },
  "Llama-2-13B": { kind: "Llama", L: 40, d: 5120, h: 40, k: 5120, f: 13824, V: 32000, S: 4096, tied: false },
};

const SETTINGS = { rank: "r", bottleneck: "m", num_virtual_tokens: "p", dimension: "D", reduction_factor: "R" };
const NEEDS_THE_MATRIX = ["full", "dora", "intrinsic"]; // a matrix of four bits is not enough for these

// A sum of products: each term is a coefficient, and the names of what it multiplies.
function valueOf(formula, symbols) {
  const product = (names) => names.split(" ").reduce((value, name) => (name ? value * symbols[name] : value), 1);
  return formula.reduce((sum, [coefficient, names]) => sum + coefficient * product(names), 0);
}

// The formula as a person would write it.
function written(formula) {
  const term = ([coefficient, names]) => (coefficient === 1 && names ? "" : `${coefficient} `) + names.replaceAll(/(\S+)\/R/g, "($1/R)");
  return formula.map(term).join(" + ").replaceAll("+ -", "− ");
}

// The number behind each symbol.
function symbolsOf(model, settings, batch) {
  const symbols = { ...model, c: model.d / model.h, B: batch.sequences, T: batch.tokens };
  for (const [name, value] of Object.entries(settings)) symbols[SETTINGS[name]] = value;
  for (const name of ["d", "f", "k", "c"]) symbols[`${name}/R`] = symbols[name] / symbols.R; // of the side network
  return symbols;
}

// Why a method cannot be put on this model with these settings; empty where it can.
function whyNot(model, choice, settings, batch) {
  const { method, settings: own } = FORMULAS[model.kind][choice];
  const numbers = [...own.map((name) => settings[name]), batch.sequences, batch.tokens];
  const sizes = ["L", "d", "h", "k", "f", "V", "S"].map((name) => model[name]);
  if (![...numbers, ...sizes].every((x) => Number.isInteger(x) && x > 0)) return "every number must be whole, and above zero";
  if (model.d % model.h) return "the heads must divide the width d";
  if (model.k % (model.d / model.h) || model.d % model.k) return "the width k of the keys must be that of some of the heads";
  const virtual = own.includes("num_virtual_tokens") ? settings.num_virtual_tokens : 0;
  if (virtual + batch.tokens > model.S) return `${virtual + batch.tokens} tokens are more than the ${model.S} positions`;
  if (method === "lst") {
    const odd = model.kind === "Llama" && (model.d / model.h / settings.reduction_factor) % 2;
    const divides = (model.d / model.h) % settings.reduction_factor === 0 && model.f % settings.reduction_factor === 0;
    if (!divides || odd) return "the reduction factor must divide the width of a head and f, and leave a Llama's head even";
  }
  return "";
}

// Numbers that the model has, and those of them that stand in the matrices of its blocks.
function sizeOf(model, symbols) {
  const { L, d, k, f, V } = symbols;
  const all = valueOf(FORMULAS[model.kind]["full fine-tuning"].trained, symbols) - (model.tied ? V * d : 0);
  return { all, matrices: L * (model.kind === "Llama" ? 2 * d * d + 2 * d * k + 3 * d * f : 4 * d * d + 2 * d * f) };
}

// Bytes of the frozen model: two a number; or NF4 for its matrices, half a byte each and their scales (8 bits for each block
// of 64, and 32 bits for each 256 of those).
function frozenBytes(model, symbols, fourBits) {
  const { all, matrices } = sizeOf(model, symbols);
  return fourBits ? 2 * (all - matrices) + matrices * (1 / 2 + 1 / 64 + 4 / (64 * 256)) : 2 * all;
}

// All that the page shows of one method.
//   model: of MODELS; choice: a name in FORMULAS; settings: rank and so on; batch: { sequences, tokens }
function costOf(model, choice, settings, batch, fourBits = false) {
  const { method, trained: counted, kept, mergeable } = FORMULAS[model.kind][choice];
  const symbols = symbolsOf(model, settings, batch);
  const all = sizeOf(model, symbols).all;
  const trained = method === "full" ? all : valueOf(counted, symbols);
  const packed = fourBits && !NEEDS_THE_MATRIX.includes(method);
  const frozen = frozenBytes(model, symbols, packed);
  const own = method === "full" ? 0 : 2 * trained; // beside the model, in 16 bits
  const training = {
    weights: frozen + own,
    gradients: 2 * trained,
    moments: 8 * trained,
    "master weights": 4 * trained,
    activations: valueOf(kept, symbols) - (method === "intrinsic" && model.tied ? 8 * symbols.V * symbols.d : 0), // drawn once
  };
  const virtual = ["prefix", "mam", "prompt"].includes(method) ? settings.num_virtual_tokens : 0;
  const side = method === "lst" ? symbols["k/R"] : 0; // its keys and values are remembered too
  const serving = {
    weights: frozen + (mergeable && !packed ? 0 : own),
    "keys and values": 2 * 2 * symbols.L * (symbols.k + side) * batch.sequences * (batch.tokens + virtual),
  };
  return { all, trained, stored: 2 * trained, training, serving, packed };
}

const total = (parts) => Object.values(parts).reduce((sum, bytes) => sum + bytes, 0);
