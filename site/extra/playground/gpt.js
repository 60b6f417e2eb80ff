"use strict";
// The course's GPT (minitransformer/model.py) and five of its methods, as one forward pass.

// Numbers as text -> tensors by name. A vector is a matrix of one row.
function readWeights(packed) {
  const bytes = Uint8Array.from(atob(packed.numbers), (sign) => sign.charCodeAt(0));
  const numbers = new Float32Array(bytes.buffer);
  const weights = {};
  for (const [name, at, rows, cols] of packed.index) weights[name] = new Tensor(rows, cols, numbers.slice(at, at + rows * cols));
  return weights;
}

class GPT {
  constructor(packed) {
    Object.assign(this, packed.config); // n_layer, n_head, n_embd, n_inner, vocab_size, block_size
    this.weights = readWeights(packed);
  }

  // Logits of the next token after each token. Sequences of one length; what is attached is one method for all of them,
  // or one (or null) for each.
  forward(sequences, attached = null) {
    if (Array.isArray(attached)) return this.mixed(sequences, attached);
    const w = this.weights;
    const B = sequences.length;
    const method = attached ? attached.method : "none";
    const [own, s] = attached ? [attached.weights, attached.strength] : [{}, 1];
    const p = method === "prompt" ? own.prompt.rows : method === "prefix" ? own["block0.k"].rows : 0;

    // A frozen matrix, with LoRA's two thin ones beside it where they are attached.
    const matrix = (x, name) => {
      const y = linear(x, w[name + ".weight"], w[name + ".bias"]);
      if (method !== "lora" || !own[name + ".A"]) return y;
      const A = firstRows(own[name + ".A"], attached.rank);
      const features = linear(x, A);
      return add(y, linear(features, firstColumns(own[name + ".B"], attached.rank)), s * attached.scaling);
    };
    const knobs = (x, name) => (method === "ia3" ? scaleColumns(x, own[name], s) : x);
    const adapter = (x, name) => {
      if (method !== "adapter") return x;
      const features = gelu(linear(x, own[name + ".down.weight"], own[name + ".down.bias"]));
      return add(x, linear(features, own[name + ".up.weight"], own[name + ".up.bias"]), s);
    };

    const positions = sequences.flatMap((sequence) => sequence.map((_, t) => p + t));
    let x = add(rowsOf(w["wte.weight"], sequences.flat()), rowsOf(w["wpe.weight"], positions));
    if (method === "prompt") {
      const places = rowsOf(w["wpe.weight"], [...Array(p).keys()]);
      x = inFront(add(own.prompt, places), x, B);
    }
    const shares = [];
    for (let i = 0; i < this.n_layer; i++) {
      const block = `blocks.${i}`;
      const h = layerNorm(x, w[block + ".ln_1.weight"], w[block + ".ln_1.bias"]);
      const q = matrix(h, block + ".attn.q_proj");
      let k = knobs(matrix(h, block + ".attn.k_proj"), `block${i}.k`);
      let v = knobs(matrix(h, block + ".attn.v_proj"), `block${i}.v`);
      if (method === "prefix") {
        k = inFront(own[`block${i}.k`], k, B);
        v = inFront(own[`block${i}.v`], v, B);
      }
      const mix = attention(q, k, v, B, this.n_head, p, s);
      shares.push({ shares: mix.shares, T: q.rows / B, S: k.rows / B });
      x = add(x, adapter(matrix(mix.y, block + ".attn.o_proj"), `block${i}.attn`));
      const g = layerNorm(x, w[block + ".ln_2.weight"], w[block + ".ln_2.bias"]);
      const inner = knobs(gelu(matrix(g, block + ".mlp.up_proj")), `block${i}.ff`);
      x = add(x, adapter(matrix(inner, block + ".mlp.down_proj"), `block${i}.mlp`));
    }
    if (method === "prompt") x = behind(p, x, B);
    const logits = linear(layerNorm(x, w["ln_f.weight"], w["ln_f.bias"]), w["lm_head.weight"]);
    return { logits, shares };
  }

  // A batch whose sequences use different methods. (A server shares the frozen products; here each row runs by itself.)
  mixed(sequences, attached) {
    const rows = sequences.map((sequence, b) => this.forward([sequence], attached[b]));
    return { logits: stack(rows.map((row) => row.logits)), shares: rows.map((row) => row.shares) };
  }

  // The n likeliest tokens, one after another, for each sequence; and the probabilities that they were chosen from.
  generate(sequences, n, attached = null) {
    let tokens = sequences.map((sequence) => [...sequence]);
    const probabilities = tokens.map(() => []);
    for (let step = 0; step < n; step++) {
      const { logits } = this.forward(tokens, attached);
      const [all, T, c] = [softmaxRows(logits), tokens[0].length, logits.cols];
      tokens = tokens.map((sequence, b) => {
        const last = all.slice(((b + 1) * T - 1) * c, (b + 1) * T * c);
        probabilities[b].push(last);
        return [...sequence, last.indexOf(Math.max(...last))];
      });
    }
    return { answers: tokens.map((sequence, b) => sequence.slice(sequences[b].length)), probabilities };
  }
}

// The first r rows of a matrix, and the first r columns: a LoRA cut to rank r. Its directions are sorted by strength.
function firstRows(x, r) {
  return r >= x.rows ? x : rowsOf(x, [...Array(r).keys()]);
}

function firstColumns(x, r) {
  if (r >= x.cols) return x;
  const data = new Float32Array(x.rows * r);
  for (let i = 0; i < x.rows; i++) for (let j = 0; j < r; j++) data[i * r + j] = x.data[i * x.cols + j];
  return new Tensor(x.rows, r, data);
}

// A trained method, as export.py packs it.
function readMethod(packed) {
  return { ...packed, weights: readWeights(packed), strength: 1, rank: packed.rank || 0 };
}

// A method at its start, ready to train. `random` gives numbers from -1 to 1.
function startMethod(gpt, method, random = () => 2 * Math.random() - 1) {
  const weights = {};
  const { n_layer, n_embd: d, n_inner: f } = gpt;
  const put = (name, rows, cols, value) => {
    weights[name] = new Tensor(rows, cols, Float32Array.from({ length: rows * cols }, value));
    weights[name].trains = true;
  };
  const rank = 4;
  for (let i = 0; i < n_layer; i++) {
    if (method === "lora") {
      const shapes = { "attn.q_proj": [d, d], "attn.k_proj": [d, d], "attn.v_proj": [d, d], "attn.o_proj": [d, d] };
      Object.assign(shapes, { "mlp.up_proj": [f, d], "mlp.down_proj": [d, f] });
      for (const [name, [out, into]] of Object.entries(shapes)) {
        put(`blocks.${i}.${name}.A`, rank, into, () => random() / Math.sqrt(into));
        put(`blocks.${i}.${name}.B`, out, rank, () => 0);
      }
    }
    if (method === "ia3") {
      put(`block${i}.k`, 1, d, () => 1);
      put(`block${i}.v`, 1, d, () => 1);
      put(`block${i}.ff`, 1, f, () => 1);
    }
    if (method === "adapter") {
      for (const name of [`block${i}.attn`, `block${i}.mlp`]) {
        put(name + ".down.weight", 16, d, () => random() / Math.sqrt(d));
        put(name + ".down.bias", 1, 16, () => random() / Math.sqrt(d));
        put(name + ".up.weight", d, 16, () => 0);
        put(name + ".up.bias", 1, d, () => 0);
      }
    }
  }
  if (method === "prompt") {
    const tokens = Array.from({ length: 10 }, () => Math.floor(((random() + 1) / 2) * 9.99));
    const start = rowsOf(gpt.weights["wte.weight"], tokens);
    put("prompt", 10, d, (_, j) => start.data[j]);
  }
  return { method, weights, strength: 1, rank, scaling: 2 };
}
