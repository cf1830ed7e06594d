/**
 * The network of llama2.c once more, slow and obvious: plain loops, one token at a time, everything in double
 * precision, nothing shared with the example and nothing of the library. The oracle of story.test.ts; never optimised.
 */

/** One forward pass: scores of the next token after `token` at `position`, in order from position 0 on. */
export type Forward = (token: number, position: number) => Float64Array;

export function referenceNetwork(file: Uint8Array): Forward {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const [dim, hidden, layers, heads, kvHeads, signedVocab, seqLen] = Array.from({ length: 7 }, (_, i) =>
    view.getInt32(4 * i, true),
  ) as [number, number, number, number, number, number, number];
  const vocab = Math.abs(signedVocab);
  const size = dim / heads;
  const kv = size * kvHeads;

  let at = 28;
  const take = (count: number) => {
    const start = at;
    at += 4 * count;
    return Float64Array.from({ length: count }, (_, i) => view.getFloat32(start + 4 * i, true));
  };
  const takeEach = (count: number) => Array.from({ length: layers }, () => take(count));
  const embedding = take(vocab * dim);
  const attentionNorm = takeEach(dim);
  const wq = takeEach(dim * dim);
  const wk = takeEach(kv * dim);
  const wv = takeEach(kv * dim);
  const wo = takeEach(dim * dim);
  const ffnNorm = takeEach(dim);
  const w1 = takeEach(hidden * dim);
  const w2 = takeEach(dim * hidden);
  const w3 = takeEach(hidden * dim);
  const finalNorm = take(dim);
  take(seqLen * size); // the two tables that nobody reads
  const classifier = signedVocab > 0 ? embedding : take(vocab * dim);

  const keys: Float64Array[][] = Array.from({ length: layers }, () => []);
  const values: Float64Array[][] = Array.from({ length: layers }, () => []);

  const attend = (layer: number, q: Float64Array) => {
    const out = new Float64Array(dim);
    for (let h = 0; h < heads; h++) {
      const shared = Math.floor(h / (heads / kvHeads)) * size;
      const scores = keys[layer]!.map((k) => {
        let sum = 0;
        for (let i = 0; i < size; i++) sum += q[h * size + i]! * k[shared + i]!;
        return sum / Math.sqrt(size);
      });
      const max = Math.max(...scores);
      const weights = scores.map((s) => Math.exp(s - max));
      const total = weights.reduce((a, b) => a + b, 0);
      for (const [t, v] of values[layer]!.entries()) {
        for (let i = 0; i < size; i++) out[h * size + i]! += (weights[t]! / total) * v[shared + i]!;
      }
    }
    return out;
  };

  return (token, position) => {
    let x: Float64Array = embedding.slice(token * dim, (token + 1) * dim);
    for (let l = 0; l < layers; l++) {
      const n = normed(x, attentionNorm[l]!);
      const q = rotated(times(wq[l]!, n), size, position);
      keys[l]!.push(rotated(times(wk[l]!, n), size, position));
      values[l]!.push(times(wv[l]!, n));
      x = plus(x, times(wo[l]!, attend(l, q)));
      const m = normed(x, ffnNorm[l]!);
      const up = times(w3[l]!, m);
      const gated = times(w1[l]!, m).map((g, i) => (g / (1 + Math.exp(-g))) * up[i]!);
      x = plus(x, times(w2[l]!, gated));
    }
    return times(classifier, normed(x, finalNorm));
  };
}

/** The likeliest token again and again, as `run -t 0 -n steps` of llama2.c does: tokens without BOS, and all scores. */
export function referenceGreedy(
  forward: Forward,
  steps: number,
): { tokens: number[]; logits: Float64Array[] } {
  const tokens: number[] = [];
  const logits: Float64Array[] = [];
  let token = 1;
  for (let position = 0; position < steps; position++) {
    const scores = forward(token, position);
    logits.push(scores);
    token = scores.indexOf(Math.max(...scores));
    if (token === 1) break;
    tokens.push(token);
  }
  return { tokens, logits };
}

/** W x, for a W of x.length columns. */
function times(w: Float64Array, x: Float64Array): Float64Array {
  return Float64Array.from({ length: w.length / x.length }, (_, row) => {
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += w[row * x.length + i]! * x[i]!;
    return sum;
  });
}

function plus(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value + b[i]!);
}

function normed(x: Float64Array, weight: Float64Array): Float64Array {
  const meanSquare = x.reduce((sum, v) => sum + v * v, 0) / x.length;
  return x.map((v, i) => (weight[i]! * v) / Math.sqrt(meanSquare + 1e-5));
}

function rotated(x: Float64Array, size: number, position: number): Float64Array {
  const out = new Float64Array(x.length);
  for (let i = 0; i < x.length; i += 2) {
    const angle = position / 10000 ** ((i % size) / size);
    out[i] = x[i]! * Math.cos(angle) - x[i + 1]! * Math.sin(angle);
    out[i + 1] = x[i]! * Math.sin(angle) + x[i + 1]! * Math.cos(angle);
  }
  return out;
}
