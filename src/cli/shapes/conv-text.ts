/**
 * Convolutions as text: `conv 1x64x56x56 64 3x3 s1 p1 d1 g1 bias relu` is input (batch x channels x height x width), output
 * channels, filter, then stride, padding, dilation and groups where they are not 1, 0, 1 and 1. Two numbers with a dot
 * between are vertical and horizontal (`s2.1`), four are top, left, bottom and right (`p0.0.1.1`).
 */
import { convExtents } from './conv.ts';
import {
  ACTIVATION_WORDS,
  checkExtent,
  MAX_ELEMENTS,
  parseActivation,
  printActivation,
  ShapeSyntaxError,
} from './syntax.ts';
import type { ConvShape } from './types.ts';

const FORM =
  'conv batch x channels x height x width, output channels, filter, for instance conv 1x64x56x56 64 3x3 s1 p1 bias relu';
const HEAD = /^conv\s+(\d+)x(\d+)x(\d+)x(\d+)\s+(\d+)\s+(\d+)x(\d+)(?=\s|$)/i;
const WORDS = ['s1', 'p1', 'd1', 'g1', 'bias', ...ACTIVATION_WORDS];

type Draft = { -readonly [K in keyof ConvShape]: ConvShape[K] };

/** Whether a text means to be a convolution, well-formed or not. */
export function isConvText(text: string): boolean {
  return /^\s*conv(\s|$)/i.test(text);
}

export function parseConv(text: string): ConvShape {
  const spaced = text.trim().replaceAll(/(\d)\s*[x×*]\s*(?=\d)/gi, '$1x');
  const head = HEAD.exec(spaced);
  if (!head) throw new ShapeSyntaxError(`"${text.trim()}" is no shape; write ${FORM}`);
  const [batch = 0, inC = 0, inH = 0, inW = 0, outC = 0, kH = 0, kW = 0] = head.slice(1).map(Number);
  const shape: Draft = {
    ...{ kind: 'conv', name: '', source: 'given', batch, inC, inH, inW, outC, kH, kW },
    ...{ stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1, bias: false },
  };
  for (const word of spaced.slice(head[0].length).split(/\s+/).filter(Boolean)) applyWord(shape, word);
  checkConv(shape);
  shape.name = printConv(shape);
  return shape;
}

function applyWord(shape: Draft, word: string): void {
  const activation = parseActivation(word);
  const numbers = /^([spdg])(\d+(?:\.\d+)*)$/i.exec(word);
  if (activation !== undefined) shape.activation = activation;
  else if (word.toLowerCase() === 'bias') shape.bias = true;
  else if (numbers) applyNumbers(shape, word, numbers[1] ?? '', (numbers[2] ?? '').split('.').map(Number));
  else throw new ShapeSyntaxError(`unknown word "${word}"; known are ${WORDS.join(', ')}`);
}

function applyNumbers(shape: Draft, word: string, letter: string, values: readonly number[]): void {
  const [first = 0, second = first, third, fourth] = values;
  const allowed = { s: [1, 2], p: [1, 2, 4], d: [1, 2], g: [1] }[letter.toLowerCase()] ?? [];
  if (!allowed.includes(values.length)) {
    throw new ShapeSyntaxError(
      `"${word}" has ${values.length} numbers, ${allowed.join(' or ')} may stand here`,
    );
  }
  switch (letter.toLowerCase()) {
    case 's':
      shape.stride = [first, second];
      break;
    case 'd':
      shape.dilation = [first, second];
      break;
    case 'g':
      shape.groups = first;
      break;
    default:
      shape.padding = [first, second, third ?? first, fourth ?? second];
  }
}

function checkConv(shape: ConvShape): void {
  const { batch, inC, inH, inW, outC, kH, kW, stride, dilation, groups } = shape;
  const extents = { batch, channels: inC, height: inH, width: inW, 'output channels': outC, kH, kW, groups };
  for (const [name, extent] of Object.entries(extents)) checkExtent(name, extent);
  for (const value of stride) checkExtent('stride', value);
  for (const value of dilation) checkExtent('dilation', value);
  const text = printConv(shape);
  if (inC % groups !== 0 || outC % groups !== 0) {
    throw new ShapeSyntaxError(`${text}: ${groups} groups do not divide ${inC} and ${outC} channels`);
  }
  const { outH, outW, input, weights, output } = convExtents(shape);
  if (outH < 1 || outW < 1) throw new ShapeSyntaxError(`${text}: the filter does not fit the padded image`);
  if (Math.max(input, weights, output) > MAX_ELEMENTS) {
    throw new ShapeSyntaxError(`${text} does not fit: an operand would take more than 4 GiB`);
  }
}

/** The canonical text: stride and padding always, the rest where it says something. */
export function printConv(shape: ConvShape): string {
  const { batch, inC, inH, inW, outC, kH, kW, stride, padding, dilation, groups, bias, activation } = shape;
  const words = [`conv ${batch}x${inC}x${inH}x${inW} ${outC} ${kH}x${kW}`, `s${shorten(stride)}`];
  words.push(`p${shorten(padding)}`);
  if (dilation[0] !== 1 || dilation[1] !== 1) words.push(`d${shorten(dilation)}`);
  if (groups !== 1) words.push(`g${groups}`);
  if (bias) words.push('bias');
  const word = printActivation(activation);
  if (word !== undefined) words.push(word);
  return words.join(' ');
}

function shorten(values: readonly number[]): string {
  return values.every((value) => value === values[0]) ? `${values[0]}` : values.join('.');
}
