/** A user's function as text that also runs elsewhere: what it may use, and a clear word about what it may not. */
import { TesseraeError } from '../../core/errors.ts';
import { show } from '../../core/show.ts';

/** Called with one number of each input; `this.constants` has what it needs besides. */
export type MapFunction = (
  this: { readonly constants: Readonly<Record<string, number>> },
  ...values: number[]
) => number;

export interface UserSource {
  /** The function expression under the name `user`. */
  readonly text: string;
  readonly arity: number;
}

const KEYWORDS = new Set(
  'break case const continue default do else for function if let return switch this var while true false'.split(
    ' ',
  ),
);
const GLOBALS = new Set(['Math', 'Infinity', 'NaN']);
const MOST_INPUTS = 8;

function refuse(what: string, values: Readonly<Record<string, unknown>>, hint: string): TesseraeError {
  return new TesseraeError('E_ARGUMENT', `the kernel's function ${what}`, values, hint);
}

const PLAIN = 'Write it as `function (x, y) { return ...; }`: its text is translated for the GPU.';

/** Checks a function and takes its text. @throws `E_ARGUMENT` naming what it uses that a kernel cannot have. */
export function readFunction(fn: unknown, constants: Readonly<Record<string, number>>): UserSource {
  if (typeof fn !== 'function') throw refuse(`is ${show(fn)}`, { fn }, PLAIN);
  const text = Function.prototype.toString.call(fn);
  const head = /^function\s*(\w*)\s*\(([^)]*)\)/.exec(text);
  if (!head || text.includes('[native code]')) {
    const kind = text.includes('=>') ? 'an arrow function' : 'no plain function';
    throw refuse(`is ${kind}`, { text: text.slice(0, 80) }, PLAIN);
  }
  const parameters = head[2]!
    .split(',')
    .map((name) => name.trim())
    .filter(Boolean);
  const odd = parameters.find((name) => !/^\w+$/.test(name));
  if (odd !== undefined)
    throw refuse(`has the parameter ${odd}`, { parameter: odd }, 'Parameters are plain names.');
  if (parameters.length < 1 || parameters.length > MOST_INPUTS)
    throw refuse(
      `has ${parameters.length} parameters`,
      { parameters },
      `One for each input, 1 to ${MOST_INPUTS}.`,
    );
  const body = text.slice(head[0].length);
  checkNames(body, new Set([...parameters, ...(head[1] ? [head[1]] : [])]), constants);
  return { text: `function user(${parameters.join(', ')})${body}`, arity: parameters.length };
}

interface Token {
  readonly text: string;
  readonly isProperty: boolean;
}

/** Names and marks, without comments and numbers. Text in quotes cannot be in a kernel and is left to the translator. */
function tokensOf(body: string): Token[] {
  const bare = body
    .replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|'[^'\n]*'|"[^"\n]*"/g, ' ')
    .replace(/\b\d[\w.]*/g, '0');
  const tokens: Token[] = [];
  for (const [text] of bare.matchAll(/[A-Za-z_$][\w$]*|[^\s\w$]/g))
    tokens.push({ text, isProperty: tokens.at(-1)?.text === '.' });
  return tokens;
}

/** Names that the body declares: each name after const, let or var, and after a comma of the same declaration. */
function declaredIn(tokens: readonly Token[]): Set<string> {
  const names = new Set<string>();
  for (let at = 0; at < tokens.length; at++) {
    if (!['const', 'let', 'var'].includes(tokens[at]!.text)) continue;
    let depth = 0;
    let isNext = true;
    for (let i = at + 1; i < tokens.length && depth >= 0; i++) {
      const { text } = tokens[i]!;
      if (text === ';' && depth === 0) break;
      if ('([{'.includes(text)) depth++;
      else if (')]}'.includes(text)) depth--;
      else if (text === ',' && depth === 0) isNext = true;
      else if (isNext) {
        names.add(text);
        isNext = false;
      }
    }
  }
  return names;
}

function checkNames(
  body: string,
  own: ReadonlySet<string>,
  constants: Readonly<Record<string, number>>,
): void {
  const tokens = tokensOf(body);
  const declared = declaredIn(tokens);
  for (const [index, { text, isProperty }] of tokens.entries()) {
    if (!/^[A-Za-z_$]/.test(text) || isProperty) continue;
    if (text === 'this') {
      checkConstant(tokens.slice(index + 1, index + 5), constants);
      continue;
    }
    if (KEYWORDS.has(text) || GLOBALS.has(text) || own.has(text) || declared.has(text)) continue;
    throw refuse(
      `uses ${text}, which is declared outside of it`,
      { name: text },
      `Pass it as { constants: { ${text} } } and read this.constants.${text}; functions but Math's cannot be called.`,
    );
  }
}

/** Behind `this`: `.constants.name`. */
function checkConstant(next: readonly Token[], constants: Readonly<Record<string, number>>): void {
  const [, field, , name] = next.map(({ text }) => text);
  if (field !== 'constants' || name === undefined)
    throw refuse(`uses this.${field}`, { field }, 'Only this.constants is there.');
  if (!Object.hasOwn(constants, name))
    throw refuse(`uses this.constants.${name}`, { name, constants }, `Pass { constants: { ${name}: ... } }.`);
}
