/** The duty cycle over simulated time: what is computed against what is allowed, whatever the lengths of jobs and tiles. */
import test from 'tape';
import type { Priority } from '../../src/backends/types.ts';
import { Pacer, type PacerClock } from '../../src/schedule/pacer.ts';
import { Random, seeded } from '../support/seed.ts';

type Timer = ReturnType<typeof setTimeout>;

/** Time that moves by hand, and a team that works on jobs of given lengths in tiles of given lengths. */
function simulation(tileMs: () => number) {
  let now = 0;
  let nth = 0;
  const timers = new Map<number, { at: number; run: () => void }>();
  const clock: PacerClock = {
    now: () => now,
    after: (ms, run) => {
      timers.set(++nth, { at: now + ms, run });
      return nth as unknown as Timer;
    },
    cancel: (timer) => void timers.delete(timer as unknown as number),
  };
  const team = { held: false, jobs: [] as number[], tileEnd: 0, tile: 0, worked: 0, active: false };
  const pacer: Pacer = new Pacer(
    {
      get isQuiet() {
        return team.tile < 0.05;
      },
      isWorking: () => team.active,
      hold: (_: Priority) => {
        team.held = true;
        setActive();
      },
      release: () => {
        team.held = false;
        setActive();
      },
    },
    clock,
  );
  function setActive(): void {
    team.active = !team.held && team.jobs.length > 0;
    pacer.workChanged();
  }
  /** One step of a tenth of a millisecond. */
  function step(): void {
    now += 0.1;
    for (const [id, { at, run }] of [...timers])
      if (at <= now) {
        timers.delete(id);
        run();
      }
    if (team.tile < 0.05 && team.active) {
      team.tile = Math.min(tileMs(), team.jobs[0]!);
      team.jobs[0]! -= team.tile;
      if (team.jobs[0]! < 0.05) {
        team.jobs.shift();
        setActive();
      }
    }
    if (team.tile >= 0.05) {
      team.tile -= 0.1;
      team.worked += 0.1;
    }
  }
  return {
    pacer,
    team,
    run: (ms: number) => {
      for (const end = now + ms; now < end; ) step();
    },
    post: (ms: number) => {
      team.jobs.push(ms);
      setActive();
    },
  };
}

test(seeded('pacer: a duty cycle is kept, whatever tiles and jobs are like'), (t) => {
  const random = new Random(971);
  for (const duty of [0.05, 0.1, 0.5, 0.9])
    for (const longest of [0.5, 5, 40]) {
      const { pacer, team, run, post } = simulation(() => random.int(1, 10 * longest) / 10);
      pacer.setDuty(duty);
      post(1e9);
      run(20_000);
      const share = team.worked / 20_000;
      t.ok(
        Math.abs(share - duty) < 0.1 * duty + 0.005,
        `${duty} with tiles up to ${longest} ms: ${share.toFixed(3)}`,
      );
    }
  t.end();
});

test(seeded('pacer: many short jobs, with gaps between them'), (t) => {
  const random = new Random(972);
  const { pacer, team, run, post } = simulation(() => 0.5);
  pacer.setDuty(0.2);
  for (let i = 0; i < 2000; i++) {
    post(random.int(1, 50) / 10);
    run(random.int(1, 60) / 10);
  }
  run(2000);
  t.ok(team.worked < 0.22 * (2000 * 3.05 + 2000), `${team.worked.toFixed(0)} ms of some 8000`);
  t.ok(team.worked > 500, 'and it did work');
  t.end();
});

test('pacer: what was saved up is no more than a turn', (t) => {
  const { pacer, team, run, post } = simulation(() => 0.5);
  pacer.setDuty(0.1);
  run(60_000);
  post(1000);
  run(100);
  t.ok(team.worked <= 21, `${team.worked.toFixed(1)} ms in the first 100 after a minute of rest`);
  pacer.setDuty(1);
  run(1500);
  t.equal(team.jobs.length, 0, 'without a limit it goes on at once');
  t.end();
});

test('pacer: pauses of two kinds, and work that is not the team’s', async (t) => {
  const { pacer, team, run, post } = simulation(() => 1);
  pacer.pause('asked');
  pacer.pause('battery');
  post(10);
  run(100);
  t.equal(team.worked, 0, 'nothing is computed');
  t.deepEqual(pacer.pauses, ['asked', 'battery']);
  pacer.resume('asked');
  run(100);
  t.equal(team.worked, 0, 'as long as one of them holds');
  let done = 0;
  const work = async () => void done++;
  const waiting = pacer.during({}, work);
  const aborted = pacer
    .during({ signal: AbortSignal.abort('enough') }, work)
    .catch((reason: unknown) => reason);
  t.equal(await aborted, 'enough', 'an abort ends the waiting');
  t.equal(done, 0);
  pacer.resume('battery');
  await waiting;
  run(20);
  t.equal(done, 1);
  t.equal(team.jobs.length, 0);
  t.ok(Math.abs(team.worked - 10) < 2, 'then all is done');
});

test('pacer: work elsewhere is charged', async (t) => {
  const { pacer, run } = simulation(() => 1);
  pacer.setDuty(0.1);
  await pacer.during({}, async () => run(50));
  let begun = false;
  const second = pacer.during({}, async () => {
    begun = true;
  });
  const interactive = pacer.during({ priority: 'interactive' }, async () => 'now');
  t.equal(await interactive, 'now', 'an interactive call does not wait');
  run(300);
  await Promise.resolve();
  t.notOk(begun, '50 ms at a tenth are not earned in 300');
  run(200);
  await second;
  t.ok(begun, 'but in 500');
});
