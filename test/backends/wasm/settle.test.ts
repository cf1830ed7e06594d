/** How long the short measurement of a machine goes on: until times have settled, on a clock that only what is measured moves. */
import test from 'tape';
import { type Timed, timeAll } from '../../../src/backends/wasm/probe.ts';

/** Work that takes `msAt` by the time that has passed, and the clock it is measured by. */
function world(...works: ((now: number) => number)[]) {
  let now = 0;
  const clock = { now: () => now };
  const timed: Timed[] = works.map((msAt) => ({
    run: () => {
      now += msAt(now);
    },
    times: 1,
    best: Number.POSITIVE_INFINITY,
  }));
  const measure = async () => {
    await timeAll(timed, 100, { clock, pause: async () => {} });
    return { bests: timed.map(({ best }) => Math.round(1e6 * best) / 1e6), took: now };
  };
  return { measure };
}

test('probe: what takes the same from the first run is measured no longer than asked for', async (t) => {
  const { bests, took } = await world(
    () => 0.5,
    () => 0.25,
  ).measure();
  t.deepEqual(bests, [0.5, 0.25]);
  t.ok(took >= 100 && took < 105, `${took} ms`);
  t.end();
});

test('probe: what is compiled late is waited for', async (t) => {
  const { bests, took } = await world(
    () => 0.5,
    (now) => (now < 90 ? 2 : 0.25),
    (now) => (now < 120 ? 3 : 0.5),
  ).measure();
  t.deepEqual(bests, [0.5, 0.25, 0.5]);
  t.ok(took >= 160 && took < 170, `${took} ms: 40 after the last that changed`);
  t.end();
});

test('probe: a machine that became slow while the last was compiled is waited for', async (t) => {
  // twice as slow from 50 ms to 180 ms; the second is compiled meanwhile
  const slow = (now: number) => (now > 50 && now < 180 ? 2 : 1);
  const { bests, took } = await world(
    (now) => 0.5 * slow(now),
    (now) => (now < 60 ? 2 : 0.5) * slow(now),
  ).measure();
  t.deepEqual(bests, [0.5, 0.5]);
  t.ok(took > 200 && took < 240, `${took} ms`);
  t.end();
});

test('probe: what never settles ends', async (t) => {
  const { took } = await world((now) => 0.8 ** Math.floor(now / 20)).measure();
  t.ok(took >= 400 && took < 405, `${took} ms: four times as long as asked for`);
  const swinging = world((now) => (Math.floor(now / 20) % 2 ? 4 : 0.5));
  t.ok((await swinging.measure()).took <= 410, 'nor does what swings go on');
  t.end();
});
