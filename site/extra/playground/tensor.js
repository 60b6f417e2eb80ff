"use strict";
// Matrices that remember how they were made, so that gradients can flow back. Rows are tokens, columns are features.
// A batch is its sequences one below the other: B sequences of T tokens are B * T rows.

class Tensor {
  constructor(rows, cols, data, parents = [], back = null) {
    this.rows = rows;
    this.cols = cols;
    this.data = data || new Float32Array(rows * cols);
    this.parents = parents;
    this.back = back; // (gradient of this) => adds to the gradients of the parents
    this.trains = parents.some((parent) => parent.trains);
    this.grad = null;
  }

  // Where the gradient of this tensor is summed up.
  gradient() {
    this.grad = this.grad || new Float32Array(this.data.length);
    return this.grad;
  }
}

// y = x W^T + b: (n, i), (o, i), (1, o) -> (n, o).
function linear(x, weight, bias = null) {
  const [n, i, o] = [x.rows, x.cols, weight.rows];
  const [X, W] = [x.data, weight.data];
  const y = new Tensor(n, o, null, bias ? [x, weight, bias] : [x, weight], (dy) => {
    const dX = x.trains ? x.gradient() : null;
    const dW = weight.trains ? weight.gradient() : null;
    const dB = bias && bias.trains ? bias.gradient() : null;
    for (let r = 0; r < n; r++) {
      for (let c = 0; c < o; c++) {
        const d = dy[r * o + c];
        if (dX) for (let k = 0; k < i; k++) dX[r * i + k] += d * W[c * i + k];
        if (dW) for (let k = 0; k < i; k++) dW[c * i + k] += d * X[r * i + k];
        if (dB) dB[c] += d;
      }
    }
  });
  for (let r = 0; r < n; r++) {
    for (let c = 0; c < o; c++) {
      let sum = bias ? bias.data[c] : 0;
      for (let k = 0; k < i; k++) sum += X[r * i + k] * W[c * i + k];
      y.data[r * o + c] = sum;
    }
  }
  return y;
}

// Two tensors of one shape, the second times a number: a + s b.
function add(a, b, s = 1) {
  const y = new Tensor(a.rows, a.cols, null, [a, b], (dy) => {
    const da = a.trains ? a.gradient() : null;
    const db = b.trains ? b.gradient() : null;
    for (let j = 0; j < dy.length; j++) {
      if (da) da[j] += dy[j];
      if (db) db[j] += s * dy[j];
    }
  });
  for (let j = 0; j < y.data.length; j++) y.data[j] = a.data[j] + s * b.data[j];
  return y;
}

// Each column times its knob, at a strength: x (1 + s (l - 1)); (n, c), (1, c) -> (n, c).
function scaleColumns(x, knobs, s = 1) {
  const c = x.cols;
  const y = new Tensor(x.rows, c, null, [x, knobs], (dy) => {
    const dx = x.trains ? x.gradient() : null;
    const dl = knobs.trains ? knobs.gradient() : null;
    for (let j = 0; j < dy.length; j++) {
      if (dx) dx[j] += dy[j] * (1 + s * (knobs.data[j % c] - 1));
      if (dl) dl[j % c] += dy[j] * s * x.data[j];
    }
  });
  for (let j = 0; j < y.data.length; j++) y.data[j] = x.data[j] * (1 + s * (knobs.data[j % c] - 1));
  return y;
}

// GELU in GPT-2's version, by tanh.
function gelu(x) {
  const [k, a] = [Math.sqrt(2 / Math.PI), 0.044715];
  const y = new Tensor(x.rows, x.cols, null, [x], (dy) => {
    const dx = x.gradient();
    for (let j = 0; j < dy.length; j++) {
      const v = x.data[j];
      const t = Math.tanh(k * (v + a * v ** 3));
      dx[j] += dy[j] * (0.5 * (1 + t) + 0.5 * v * (1 - t * t) * k * (1 + 3 * a * v * v));
    }
  });
  for (let j = 0; j < y.data.length; j++) {
    const v = x.data[j];
    y.data[j] = 0.5 * v * (1 + Math.tanh(k * (v + a * v ** 3)));
  }
  return y;
}

// Each row with mean 0 and variance 1, then times a weight, plus a bias. Weight and bias are frozen here.
function layerNorm(x, weight, bias) {
  const c = x.cols;
  const normed = new Float32Array(x.data.length);
  const inverse = new Float32Array(x.rows);
  const y = new Tensor(x.rows, c, null, [x], (dy) => {
    const dx = x.gradient();
    for (let r = 0; r < x.rows; r++) {
      let [mean, along] = [0, 0];
      for (let j = 0; j < c; j++) {
        const d = dy[r * c + j] * weight.data[j];
        mean += d / c;
        along += (d * normed[r * c + j]) / c;
      }
      for (let j = 0; j < c; j++) {
        const d = dy[r * c + j] * weight.data[j];
        dx[r * c + j] += inverse[r] * (d - mean - normed[r * c + j] * along);
      }
    }
  });
  for (let r = 0; r < x.rows; r++) {
    let [mean, square] = [0, 0];
    for (let j = 0; j < c; j++) mean += x.data[r * c + j] / c;
    for (let j = 0; j < c; j++) square += (x.data[r * c + j] - mean) ** 2 / c;
    inverse[r] = 1 / Math.sqrt(square + 1e-5);
    for (let j = 0; j < c; j++) {
      normed[r * c + j] = (x.data[r * c + j] - mean) * inverse[r];
      y.data[r * c + j] = normed[r * c + j] * weight.data[j] + bias.data[j];
    }
  }
  return y;
}

// Rows of a table, by number: (v, d) -> (n, d).
function rowsOf(table, numbers) {
  const d = table.cols;
  const y = new Tensor(numbers.length, d, null, [table], (dy) => {
    const dt = table.gradient();
    numbers.forEach((row, r) => {
      for (let j = 0; j < d; j++) dt[row * d + j] += dy[r * d + j];
    });
  });
  numbers.forEach((row, r) => y.data.set(table.data.subarray(row * d, (row + 1) * d), r * d));
  return y;
}

// The same p rows in front of each of B sequences: (p, d), (B * T, d) -> (B * (p + T), d).
function inFront(virtual, x, B) {
  const [p, d, T] = [virtual.rows, x.cols, x.rows / B];
  const y = new Tensor(B * (p + T), d, null, [virtual, x], (dy) => {
    const dv = virtual.trains ? virtual.gradient() : null;
    const dx = x.trains ? x.gradient() : null;
    for (let b = 0; b < B; b++) {
      const start = b * (p + T) * d;
      for (let j = 0; dv && j < p * d; j++) dv[j] += dy[start + j];
      for (let j = 0; dx && j < T * d; j++) dx[b * T * d + j] += dy[start + p * d + j];
    }
  });
  for (let b = 0; b < B; b++) {
    y.data.set(virtual.data, b * (p + T) * d);
    y.data.set(x.data.subarray(b * T * d, (b + 1) * T * d), (b * (p + T) + p) * d);
  }
  return y;
}

// What is left behind the first p rows of each sequence: (B * (p + T), d) -> (B * T, d).
function behind(p, x, B) {
  const keep = [];
  const S = x.rows / B;
  for (let b = 0; b < B; b++) for (let t = p; t < S; t++) keep.push(b * S + t);
  return rowsOf(x, keep);
}

// One tensor below the other.
function stack(parts) {
  const d = parts[0].cols;
  const y = new Tensor(parts.reduce((n, part) => n + part.rows, 0), d, null, parts, (dy) => {
    let at = 0;
    for (const part of parts) {
      if (part.trains) part.gradient().forEach((_, j, grad) => (grad[j] += dy[at + j]));
      at += part.data.length;
    }
  });
  let at = 0;
  for (const part of parts) {
    y.data.set(part.data, at);
    at += part.data.length;
  }
  return y;
}

// Causal attention, aligned at the end: query t of T sees the first S - T + t + 1 of S keys.
// The first `virtual` keys weigh `strength` times as much as they would; 0 hides them.
// Returns the mix of values and the shares, [B][head][T][S].
function attention(q, k, v, B, heads, virtual = 0, strength = 1) {
  const [d, T, S] = [q.cols, q.rows / B, k.rows / B];
  const h = d / heads;
  const root = Math.sqrt(h);
  const shares = new Float32Array(B * heads * T * S);
  const each = (visit) => {
    for (let b = 0; b < B; b++)
      for (let n = 0; n < heads; n++) for (let t = 0; t < T; t++) visit(b, n, t, ((b * heads + n) * T + t) * S);
  };
  const y = new Tensor(B * T, d, null, [q, k, v], (dy) => {
    const [dq, dk, dv] = [q, k, v].map((x) => (x.trains ? x.gradient() : null));
    each((b, n, t, at) => {
      const row = (b * T + t) * d + n * h;
      const ds = new Float32Array(S - T + t + 1);
      let mean = 0;
      for (let s = 0; s < ds.length; s++) {
        const key = (b * S + s) * d + n * h;
        for (let j = 0; j < h; j++) {
          ds[s] += dy[row + j] * v.data[key + j];
          if (dv) dv[key + j] += shares[at + s] * dy[row + j];
        }
        mean += shares[at + s] * ds[s];
      }
      for (let s = 0; s < ds.length; s++) {
        const key = (b * S + s) * d + n * h;
        const score = (shares[at + s] * (ds[s] - mean)) / root;
        for (let j = 0; j < h; j++) {
          if (dq) dq[row + j] += score * k.data[key + j];
          if (dk) dk[key + j] += score * q.data[row + j];
        }
      }
    });
  });
  each((b, n, t, at) => {
    const row = (b * T + t) * d + n * h;
    const seen = S - T + t + 1;
    let top = -Infinity;
    for (let s = 0; s < seen; s++) {
      const key = (b * S + s) * d + n * h;
      let score = 0;
      for (let j = 0; j < h; j++) score += q.data[row + j] * k.data[key + j];
      shares[at + s] = score / root + (s < virtual ? Math.log(strength) : 0);
      top = Math.max(top, shares[at + s]);
    }
    let sum = 0;
    for (let s = 0; s < seen; s++) sum += shares[at + s] = Math.exp(shares[at + s] - top);
    for (let s = 0; s < seen; s++) {
      const share = (shares[at + s] /= sum);
      for (let j = 0; j < h; j++) y.data[row + j] += share * v.data[(b * S + s) * d + n * h + j];
    }
  });
  return { y, shares };
}

// Mean cross-entropy of the rows that have a target (-1: none): a (1, 1) tensor.
function crossEntropy(logits, targets) {
  const c = logits.cols;
  const counted = targets.filter((target) => target >= 0).length;
  const shares = softmaxRows(logits);
  const y = new Tensor(1, 1, null, [logits], (dy) => {
    const dl = logits.gradient();
    targets.forEach((target, r) => {
      if (target < 0) return;
      for (let j = 0; j < c; j++) dl[r * c + j] += (dy[0] * (shares[r * c + j] - (j === target))) / counted;
    });
  });
  targets.forEach((target, r) => {
    if (target >= 0) y.data[0] -= Math.log(shares[r * c + target]) / counted;
  });
  return y;
}

// Probabilities of each row, as plain numbers.
function softmaxRows(x) {
  const shares = new Float32Array(x.data.length);
  for (let r = 0; r < x.rows; r++) {
    const row = x.data.subarray(r * x.cols, (r + 1) * x.cols);
    const top = Math.max(...row);
    const sum = row.reduce((total, value) => total + Math.exp(value - top), 0);
    row.forEach((value, j) => (shares[r * x.cols + j] = Math.exp(value - top) / sum));
  }
  return shares;
}

// Gradients of a (1, 1) tensor, for everything below it that trains.
function backward(loss) {
  const order = [];
  const seen = new Set();
  const visit = (tensor) => {
    if (seen.has(tensor) || !tensor.trains) return;
    seen.add(tensor);
    tensor.parents.forEach(visit);
    order.push(tensor);
  };
  visit(loss);
  loss.gradient()[0] = 1;
  for (const tensor of order.reverse()) if (tensor.back) tensor.back(tensor.grad);
}

// Adam (Kingma and Ba 2014), with the gradient cut to length 1.
class Adam {
  constructor(tensors, rate) {
    this.tensors = tensors;
    this.rate = rate;
    this.steps = 0;
    this.moments = tensors.map((tensor) => [new Float32Array(tensor.data.length), new Float32Array(tensor.data.length)]);
  }

  step(part = 1) {
    this.steps += 1;
    const square = this.tensors.reduce((sum, tensor) => sum + tensor.gradient().reduce((s, g) => s + g * g, 0), 0);
    const cut = Math.min(1, 1 / (Math.sqrt(square) + 1e-6));
    this.tensors.forEach((tensor, i) => {
      const [mean, power] = this.moments[i];
      for (let j = 0; j < tensor.data.length; j++) {
        const g = cut * tensor.grad[j];
        mean[j] = 0.9 * mean[j] + 0.1 * g;
        power[j] = 0.999 * power[j] + 0.001 * g * g;
        const length = Math.sqrt(power[j] / (1 - 0.999 ** this.steps)) + 1e-8;
        tensor.data[j] -= (part * this.rate * mean[j]) / (1 - 0.9 ** this.steps) / length;
      }
      tensor.grad = null;
    });
  }
}
