/** The matrix products of transformers: one layer's worth each, every different product once. */
import type { MatmulShape, ShapeList } from './types.ts';

interface Transformer {
  readonly source: string;
  readonly width: number;
  readonly heads: number;
  readonly hidden: number;
}

/** A product with constant weights. */
function linear(source: string, name: string, rows: number, from: number, to: number): MatmulShape {
  return { name, m: rows, k: from, n: to, prepacked: true, source };
}

/** `rows` queries against `past` keys; keys are stored one per row, hence transposed. */
function attention(model: Transformer, rows: number, past: number): readonly MatmulShape[] {
  const depth = model.width / model.heads;
  const batch = model.heads;
  const { source } = model;
  return [
    { name: `scores ${rows}x${past}`, batch, m: rows, k: depth, n: past, transposeB: true, source },
    { name: `context ${rows}x${past}`, batch, m: rows, k: past, n: depth, source },
  ];
}

function layer(model: Transformer, rows: number, past: number): readonly MatmulShape[] {
  const { source, width, hidden } = model;
  return [
    linear(source, `qkv ${rows}`, rows, width, 3 * width),
    ...attention(model, rows, past),
    linear(source, `proj ${rows}`, rows, width, width),
    linear(source, `mlp up ${rows}`, rows, width, hidden),
    linear(source, `mlp down ${rows}`, rows, hidden, width),
  ];
}

const BASE = { width: 768, heads: 12, hidden: 3072 } as const;
const GPT2 = { ...BASE, source: 'GPT-2 small' } as const;
/** The token table doubles as the last layer's weights, stored one row per token. */
const LM_HEAD: MatmulShape = {
  name: 'lm head',
  m: 1,
  k: 768,
  n: 50257,
  transposeB: true,
  prepacked: true,
  source: 'GPT-2 small',
};

export const BERT_BASE: ShapeList = {
  name: 'bert-base',
  about: 'one layer of BERT-base, 128 tokens',
  shapes: [...layer({ ...BASE, source: 'BERT-base' }, 128, 128), linear('BERT-base', 'pooler', 1, 768, 768)],
};

export const VIT_B16: ShapeList = {
  name: 'vit-b16',
  about: 'one layer of ViT-B/16, 197 tokens',
  shapes: [
    linear('ViT-B/16', 'patch embedding', 196, 768, 768),
    ...layer({ ...BASE, source: 'ViT-B/16' }, 197, 197),
    linear('ViT-B/16', 'head', 1, 768, 1000),
  ],
};

export const GPT2_PREFILL: ShapeList = {
  name: 'gpt2-prefill',
  about: 'one layer of GPT-2 small reading a prompt of 64 and of 256 tokens',
  shapes: [...layer(GPT2, 64, 64), ...layer(GPT2, 256, 256), LM_HEAD],
};

export const GPT2_DECODE: ShapeList = {
  name: 'gpt2-decode',
  about: 'one layer of GPT-2 small writing one token after 256',
  shapes: [...layer(GPT2, 1, 256), LM_HEAD],
};
