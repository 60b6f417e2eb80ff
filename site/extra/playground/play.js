"use strict";
// The page: what is chosen, what is drawn. The model is in gpt.js, its arithmetic in tensor.js.

const $ = (id) => document.getElementById(id);
const gpt = new GPT(DATA.base);
const methods = Object.fromEntries(Object.entries(DATA.methods).map(([name, packed]) => [name, readMethod(packed)]));
const text = (tokens) => tokens.map((token) => "01234567=;"[token]).join(" ");

// The page's colours, by their names in play.css; a dark page has others.
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// A canvas made empty, as wide as there is room for, and no wider than this.
function emptied(canvas, widest, heightOf) {
  canvas.width = Math.min(widest, canvas.parentElement.clientWidth - 2);
  canvas.height = heightOf(canvas.width);
  return canvas.getContext("2d");
}

// ---- ask it ----------------------------------------------------------------------------------------------------------

// The question as typed; null, and a word why, where it is none.
function typedQuestion() {
  const symbols = $("question").value.match(/\S/g) || [];
  const question = symbols.map(Number);
  const fits = question.length === LENGTH && question.every((symbol) => symbol >= 0 && symbol <= 7);
  if (!fits) $("answer").textContent = `It reads six symbols from 0 to 7, not “${$("question").value}”.`;
  return fits ? question : null;
}

// A solved example of a skill, the same each time.
function solvedExample(skill) {
  const question = [5, 0, 3, 6, 1, 4];
  return skill ? [...question, EQUALS, ...TASKS[skill](question), SEMICOLON] : [];
}

const attached = () => methods[$("method").value] || null;

function answer() {
  const question = typedQuestion();
  if (!question) return;
  const asked = [...solvedExample($("shown").value), ...question, EQUALS];
  const { answers, probabilities } = gpt.generate([asked], LENGTH, attached());
  const said = answers[0];
  const means = Object.keys(TASKS).filter((task) => String(TASKS[task](question)) === String(said));
  const box = $("answer");
  box.replaceChildren();
  const symbols = box.appendChild(document.createElement("div"));
  symbols.className = "symbols";
  said.forEach((token, i) => symbols.append(symbolBox(token, probabilities[0][i])));
  const verdict = box.appendChild(document.createElement("p"));
  verdict.className = means.length ? "right" : "wrong";
  verdict.textContent = means.length ? `That is ${means.join(", ")}.` : "That is none of its skills, and no rung of the ladder.";
  drawMap([...asked, ...said.slice(0, -1)]);
  answerBatch();
}

// A symbol of the answer, with the probabilities that it was chosen from.
function symbolBox(token, probabilities) {
  const box = document.createElement("div");
  box.className = "symbol";
  box.appendChild(document.createElement("b")).textContent = "01234567=;"[token];
  for (let symbol = 0; symbol < 8; symbol++) {
    const bar = box.appendChild(document.createElement("div"));
    bar.className = "bar";
    bar.append(String(symbol));
    bar.appendChild(document.createElement("i")).style.width = `${(3 * probabilities[symbol]).toFixed(2)}rem`;
    bar.title = `${symbol}: ${probabilities[symbol].toFixed(3)}`;
  }
  return box;
}

// Which sliders there are depends on the method; each method keeps its own settings.
function showSliders() {
  const it = attached();
  $("strength-line").hidden = !it;
  $("rank-line").hidden = !it || it.method !== "lora";
  $("knob-line").hidden = !it || it.method !== "ia3";
  if (!it) return;
  $("strength").value = it.strength;
  $("strength-out").textContent = Number(it.strength).toFixed(2);
  $("rank").max = it.rank_of || (it.rank_of = it.rank);
  $("rank").value = it.rank;
  $("rank-out").textContent = it.rank;
  if (it.method === "ia3") showKnob(it);
}

function showKnob(it) {
  if (!$("knob-place").options.length) Object.keys(it.weights).forEach((name) => $("knob-place").add(new Option(name)));
  const knobs = it.weights[$("knob-place").value].data;
  $("knob-number").max = knobs.length - 1;
  const value = knobs[Math.min($("knob-number").value, knobs.length - 1)];
  $("knob").value = value;
  $("knob-out").textContent = value.toFixed(2);
}

function examine() {
  const task = $("method").value.split(" ")[1] || "recall";
  $("examined").textContent = `${score(gpt, attached(), task, 100).toFixed(2)} on ${task}`;
}

// ---- where it looks --------------------------------------------------------------------------------------------------

function drawMap(tokens) {
  const { shares } = gpt.forward([tokens], attached());
  const { shares: all, T, S } = shares[$("layer").value];
  const head = Number($("head").value);
  const canvas = $("map");
  const brush = emptied(canvas, 520, (width) => width);
  const [ink, accent] = [colour("ink"), colour("accent")];
  const margin = 28;
  const cell = (canvas.width - margin) / Math.max(S, T);
  brush.font = `${Math.min(16, cell)}px sans-serif`;
  brush.textAlign = "center";
  brush.textBaseline = "middle";
  const name = (s) => (s < S - T ? "•" : "01234567=;"[tokens[s - (S - T)]]);
  brush.fillStyle = ink;
  for (let s = 0; s < S; s++) brush.fillText(name(s), margin + (s + 0.5) * cell, margin / 2);
  for (let t = 0; t < T; t++) {
    brush.globalAlpha = 1;
    brush.fillStyle = ink;
    brush.fillText(name(t + S - T), margin / 2, margin + (t + 0.5) * cell);
    brush.fillStyle = accent;
    for (let s = 0; s <= S - T + t; s++) {
      brush.globalAlpha = all[(head * T + t) * S + s];
      brush.fillRect(margin + s * cell, margin + t * cell, cell - 1, cell - 1);
    }
  }
}

// ---- three tasks in one batch ----------------------------------------------------------------------------------------

const batch = [
  { question: [3, 1, 7, 0, 2, 2], method: "lora recall" },
  { question: [6, 5, 1, 1, 0, 4], method: "ia3 compose" },
  { question: [2, 7, 3, 3, 5, 0], method: "lora learn" },
];

function answerBatch() {
  const rows = batch.filter((row) => !row.method || methods[row.method]);
  const asked = rows.map((row) => [...row.question, EQUALS]);
  const { answers } = gpt.generate(asked, LENGTH, rows.map((row) => methods[row.method] || null));
  const used = [...$("rows").querySelectorAll("select")].indexOf(document.activeElement);
  $("rows").replaceChildren(
    ...rows.map((row, i) => {
      const line = document.createElement("tr");
      line.appendChild(document.createElement("td")).textContent = text(row.question);
      const choice = line.appendChild(document.createElement("td")).appendChild(methodChoice());
      choice.setAttribute("aria-label", `method of row ${i + 1}`);
      choice.value = row.method;
      choice.onchange = () => {
        row.method = choice.value;
        answerBatch();
      };
      line.appendChild(document.createElement("td")).textContent = text(answers[i]);
      return line;
    }),
  );
  if (used >= 0) $("rows").querySelectorAll("select")[used].focus();
}

function methodChoice() {
  const choice = document.createElement("select");
  choice.add(new Option("nothing: the base", ""));
  Object.keys(methods).forEach((name) => choice.add(new Option(name)));
  return choice;
}

// ---- train one here --------------------------------------------------------------------------------------------------

// Of two buttons one can be pressed; the keyboard goes with it.
function swap(from, to) {
  const here = document.activeElement === $(from);
  $(to).disabled = false;
  if (here) $(to).focus();
  $(from).disabled = true;
}

let training = null;
let drawn = { losses: [], scores: [] };

function start() {
  const [method, task] = [$("train-method").value, $("train-task").value];
  const fresh = startMethod(gpt, method);
  training = { fresh, task, adam: new Adam(Object.values(fresh.weights), Number($("rate").value)), losses: [], scores: [] };
  swap("start", "stop");
  setTimeout(trainOn);
}

// One step, then the page may breathe.
function trainOn() {
  const run = training;
  if (!run) return;
  const { sequences, targets } = trainingBatch(run.task, 16);
  const loss = crossEntropy(gpt.forward(sequences, run.fresh).logits, targets);
  backward(loss);
  run.adam.step(Math.min(1, (run.losses.length + 1) / 15));
  run.losses.push(loss.data[0]);
  if (run.losses.length % 10 === 0) run.scores.push(score(gpt, run.fresh, run.task, 64));
  const numbers = run.adam.tensors.reduce((sum, tensor) => sum + tensor.data.length, 0);
  const last = run.scores.length ? `, right on ${(100 * run.scores.at(-1)).toFixed(0)} % of 64 held-out questions` : "";
  $("progress").textContent =
    `${numbers.toLocaleString("en")} numbers train; step ${run.losses.length}, loss ${loss.data[0].toFixed(3)} nats a symbol${last}`;
  drawn = run;
  drawCurve();
  setTimeout(trainOn);
}

function stop() {
  const { fresh, task } = training;
  training = null;
  swap("stop", "start");
  const name = `${fresh.method} ${task} (yours)`;
  if (!methods[name]) $("method").add(new Option(name));
  Object.values(fresh.weights).forEach((tensor) => (tensor.trains = false));
  methods[name] = fresh;
  $("method").value = name;
  showSliders();
  answer();
}

function drawCurve() {
  const { losses, scores } = drawn;
  const canvas = $("curve");
  const brush = emptied(canvas, 640, (width) => Math.max(200, Math.round(0.4 * width)));
  const [ink, lossColour, scoreColour] = [colour("ink"), colour("bad"), colour("good")];
  const [left, bottom] = [40, canvas.height - 24];
  const steps = Math.max(100, losses.length);
  const x = (step) => left + (step / steps) * (canvas.width - left - 60);
  brush.font = "13px sans-serif";
  brush.fillStyle = brush.strokeStyle = ink;
  brush.strokeRect(left, 8, x(steps) - left, bottom - 8);
  brush.fillText(`${steps} steps`, x(steps) - 50, canvas.height - 6);
  const line = (values, every, highest, shade, label) => {
    const y = (value) => bottom - (Math.min(value, highest) / highest) * (bottom - 8);
    brush.strokeStyle = brush.fillStyle = shade;
    brush.lineWidth = 2;
    brush.beginPath();
    values.forEach((value, i) => brush.lineTo(x((i + 1) * every), y(value)));
    brush.stroke();
    if (values.length) brush.fillText(label, x(values.length * every) + 4, y(values.at(-1)) + 4);
  };
  line(losses, 1, 3, lossColour, "loss");
  line(scores, 10, 1, scoreColour, "score");
  brush.fillStyle = lossColour;
  brush.fillText("3", 20, 16);
  brush.fillStyle = scoreColour;
  brush.fillText("1", 6, 16);
}

// ---- begin -------------------------------------------------------------------------------------------------------------

Object.keys(methods).forEach((name) => $("method").add(new Option(name)));
for (let i = 0; i < gpt.n_layer; i++) $("layer").add(new Option(i));
for (let i = 0; i < gpt.n_head; i++) $("head").add(new Option(i));
for (const id of ["question", "shown", "layer", "head"]) $(id).oninput = answer;
$("draw").onclick = () => {
  $("question").value = text(drawQuestion(true));
  answer();
};
$("method").onchange = () => {
  $("examined").textContent = "";
  showSliders();
  answer();
};
$("strength").oninput = () => {
  attached().strength = Number($("strength").value);
  showSliders();
  answer();
};
$("rank").oninput = () => {
  attached().rank = Number($("rank").value);
  showSliders();
  answer();
};
for (const id of ["knob-place", "knob-number"]) $(id).oninput = () => showKnob(attached());
$("knob").oninput = () => {
  attached().weights[$("knob-place").value].data[$("knob-number").value] = Number($("knob").value);
  showKnob(attached());
  answer();
};
$("examine").onclick = examine;
$("start").onclick = start;
$("stop").onclick = stop;
matchMedia("(prefers-color-scheme: dark)").onchange = window.onresize = () => {
  answer();
  drawCurve();
};
showSliders();
answer();
drawCurve();
