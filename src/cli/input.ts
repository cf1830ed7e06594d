/** Shapes as the commands take them: `--suite` names lists, `--shapes` a file or shapes themselves. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { UsageError } from './errors.ts';
import {
  parseShape,
  parseShapeFile,
  printShape,
  SHAPE_LISTS,
  type Shape,
  ShapeSyntaxError,
  shapeList,
} from './shapes/index.ts';
import { suggestion } from './suggest.ts';

export interface ShapeSelection {
  /** For the header and the report. */
  readonly name: string;
  readonly shapes: readonly Shape[];
}

export interface ShapeOptions {
  readonly suite?: string;
  readonly shapes?: string;
}

/** Suites that are no shape lists, such as `cold`, are taken out by the caller before. */
export function selectShapes(
  options: ShapeOptions,
  cwd: string,
  fallback: string,
  other: readonly string[] = [],
): ShapeSelection {
  if (options.shapes !== undefined && options.suite !== undefined) {
    throw new UsageError('--suite and --shapes exclude each other', 'Give one of them.');
  }
  if (options.shapes !== undefined) return readShapes(options.shapes, cwd);
  const names = (options.suite ?? fallback).split(',').map((name) => name.trim());
  const lists = names.map((name) => {
    const list = shapeList(name);
    if (other.includes(name))
      throw new UsageError(`the suite ${name} is measured by itself`, `Give --suite ${name} alone.`);
    if (list === undefined) {
      const known = [...SHAPE_LISTS.map((known) => known.name), ...other];
      throw new UsageError(`there is no suite "${name}"`, suggestion(name, known));
    }
    return list;
  });
  return { name: names.join(','), shapes: distinct(lists.flatMap(({ shapes }) => shapes)) };
}

/** `64x64x64,conv 1x3x8x8 4 3x3` or a file; a file that is named like a shape can be given as `./64x64x64`. */
function readShapes(argument: string, cwd: string): ShapeSelection {
  const inline = /^\s*(?:(?:conv|int8)\s|\d+\s*[x×*]\s*\d)/i.test(argument);
  if (inline)
    return { name: 'given shapes', shapes: distinct(argument.split(',').map((text) => parseShape(text))) };
  let content: string;
  try {
    content = readFileSync(resolve(cwd, argument), 'utf8');
  } catch (error) {
    throw new UsageError(
      `cannot read ${argument}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`,
    );
  }
  try {
    return { name: argument, shapes: distinct(parseShapeFile(content)) };
  } catch (error) {
    if (error instanceof ShapeSyntaxError) throw new UsageError(`${argument}: ${error.message}`);
    throw error;
  }
}

/** The same shape under two names would be measured twice and be ambiguous in a comparison. */
function distinct(shapes: readonly Shape[]): readonly Shape[] {
  return [...new Map(shapes.map((shape) => [printShape(shape), shape])).values()];
}
