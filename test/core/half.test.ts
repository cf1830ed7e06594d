/** Rounding to halves, against every half that there is. */
import test from 'tape';
import { roundToHalf } from '../../src/core/half.ts';
import { halfOf } from '../support/halves.ts';

test('halves: each is itself, and what lies between two goes to the nearer, ties to even', (t) => {
  const wrong: string[] = [];
  for (let bits = 0; bits < 0x7c00; bits++) {
    const [low, high] = [halfOf(bits), bits + 1 === 0x7c00 ? 65536 : halfOf(bits + 1)];
    const above = bits + 1 === 0x7c00 ? Number.POSITIVE_INFINITY : high;
    const middle = (low + high) / 2;
    const step = (high - low) / 8;
    for (const [value, wanted] of [
      [low, low],
      [middle - step, low],
      [middle, bits % 2 === 0 ? low : above],
      [middle + step, above],
    ] as const) {
      if (roundToHalf(value) !== wanted) wrong.push(`${value} -> ${roundToHalf(value)}, not ${wanted}`);
      if (roundToHalf(-value) !== -wanted) wrong.push(`${-value}`);
    }
  }
  t.deepEqual(wrong.slice(0, 5), [], 'all 31744 and their neighbours');
  t.ok(Object.is(roundToHalf(-0), -0), 'zeros keep their sign');
  t.equal(roundToHalf(Number.NEGATIVE_INFINITY), Number.NEGATIVE_INFINITY);
  t.ok(Number.isNaN(roundToHalf(Number.NaN)));
  t.end();
});
