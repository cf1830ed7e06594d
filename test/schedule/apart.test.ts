/** The books of a distant memory: what is kept for whom, and that everything comes back. */
import test from 'tape';
import { NullBackend } from '../../src/backends/null/backend.ts';
import { ApartExecutor, type DistantBackend } from '../../src/schedule/apart.ts';

class Distant extends NullBackend implements DistantBackend {
  readonly written: number[] = [];

  write(at: number): void {
    this.written.push(at);
  }

  async read(): Promise<void> {}
}

function setup(maximumMemory = Number.MAX_SAFE_INTEGER) {
  const backend = new Distant({ maximumMemory });
  return { backend, executor: new ApartExecutor(backend) };
}

test('apart executor: what is kept goes once for each keeper, and goes with it', (t) => {
  const { backend, executor } = setup();
  const [one, two] = [{ disposed: false }, { disposed: false }];
  const keep = (keeper: { disposed: boolean }, name: string) =>
    executor.keep(keeper, name, 1000, (at) => backend.write(at));
  const first = keep(one, 'a');
  t.equal(keep(one, 'a'), first, 'the same again');
  t.notEqual(keep(one, 'b'), first);
  t.notEqual(keep(two, 'a'), first);
  t.equal(backend.written.length, 3, 'each was sent once');
  one.disposed = true;
  executor.sweep();
  t.equal(backend.memoryUse().byOwner.prepacked, 1000, 'what the other keeps stays');
  executor.forget(two);
  t.equal(backend.memoryUse().used, 0);
  executor.forget(two);
  t.notEqual(keep(two, 'a'), undefined, 'and may be sent anew');
  t.equal(backend.written.length, 4);
  t.end();
});

test('apart executor: what fails keeps nothing', (t) => {
  const { backend, executor } = setup(3000);
  const keeper = { disposed: false };
  const planted = new Error('planted');
  const fail = () => {
    throw planted;
  };
  t.throws(() => executor.keep(keeper, 'a', 1000, fail), /planted/);
  t.throws(() => executor.keep(keeper, 'a', 5000, () => undefined), /no 5000 bytes/);
  t.throws(
    () =>
      executor.lend((take) => {
        take(1000);
        t.equal(take(0), 0, 'nothing takes nothing');
        return fail();
      }),
    /planted/,
  );
  t.throws(() => executor.lend((take) => [take(2000), take(2000)]), /no 2000 bytes/);
  t.equal(backend.memoryUse().used, 0, 'all is given back');
  t.equal(executor.lend((take) => take(3000)) > 0, true, 'and there to be lent');
  t.end();
});
