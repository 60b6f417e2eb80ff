"use strict";
// The course's tasks: six symbols, "=", six answers.

const LENGTH = 6;
const [EQUALS, SEMICOLON] = [8, 9];
const ascending = (x) => [...x].sort((a, b) => a - b);
const TASKS = {
  ascending,
  descending: (x) => ascending(x).reverse(),
  "add one": (x) => x.map((symbol) => (symbol + 1) % 8),
  "add two": (x) => x.map((symbol) => (symbol + 2) % 8),
  compose: (x) => ascending(x).map((symbol) => (symbol + 1) % 8),
  learn: (x) => x.map((symbol, i) => (x[(i + 1) % LENGTH] - symbol + 8) % 8),
};
TASKS.recall = TASKS.descending;

// An eighth of all questions is held out; a hash of the question decides, as in the course.
function isHeldOut(question) {
  const code = question.reduce((sum, symbol) => sum * 8 + symbol, 0);
  return Math.imul(code, 2654435761) >>> 29 === 0;
}

function drawQuestion(heldOut) {
  for (;;) {
    const question = Array.from({ length: LENGTH }, () => Math.floor(Math.random() * 8));
    if (isHeldOut(question) === heldOut) return question;
  }
}

// A training batch: tokens up to the last symbol but one of the answer, and targets where the answer is written.
function trainingBatch(task, n, draw = () => drawQuestion(false)) {
  const sequences = [];
  const targets = [];
  for (let i = 0; i < n; i++) {
    const question = draw();
    const answer = TASKS[task](question);
    sequences.push([...question, EQUALS, ...answer.slice(0, -1)]);
    targets.push(...Array(LENGTH).fill(-1), ...answer);
  }
  return { sequences, targets };
}

// The part of n held-out questions that are answered right in every symbol.
function score(gpt, attached, task, n) {
  const asked = Array.from({ length: n }, () => drawQuestion(true));
  const { answers } = gpt.generate(asked.map((question) => [...question, EQUALS]), LENGTH, attached);
  return answers.filter((answer, i) => String(answer) === String(TASKS[task](asked[i]))).length / n;
}
