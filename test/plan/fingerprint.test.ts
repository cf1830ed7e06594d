/** The hash against published vectors; the signature: stable, and different for every part that matters. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'tape';
import { hashBytes, hashText } from '../../src/core/hash.ts';
import { type FingerprintParts, signature } from '../../src/plan/fingerprint.ts';

const PARTS: FingerprintParts = {
  schema: 1,
  kernelTable: 'abc',
  engine: { name: 'node', version: '20.20.2', v8: '11.3', arch: 'x64' },
  features: ['simd', 'threads'],
  engineFlags: [],
  cpu: { model: 'Some CPU @ 2.00GHz', cores: 2 },
  threadCap: 2,
};

test('hash: published vectors of MurmurHash3_x86_128', (t) => {
  // The READMEs of karanlyons/murmurHash3.js and the test suites of several ports agree on these.
  t.equal(hashText(''), '00000000000000000000000000000000');
  t.equal(hashText('The quick brown fox jumps over the lazy dog'), '2f1583c3ecee2c675d7bf66ce5e91d2c');
  const words = "I will not buy this tobacconist's, it is scratched.";
  t.equal(hashText(words), '9b5b7ba2ef3f7866889adeaf00f3f98e');
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  t.equal(hashBytes(bytes), '2c56c88fdb4503dfd352b21a494ca2c0');
  t.equal(hashBytes(Uint8Array.from([9, ...bytes]).subarray(1)), hashBytes(bytes), 'at an odd offset too');
  t.end();
});

test('hash: every tail length and every bit counts', (t) => {
  const seen = new Set<string>();
  let tried = 0;
  for (let length = 0; length <= 33; length++) {
    const bytes = new Uint8Array(length);
    seen.add(hashBytes(bytes));
    tried++;
    for (let bit = 0; bit < length * 8; bit++) {
      bytes[bit >> 3] = 1 << (bit & 7);
      seen.add(hashBytes(bytes));
      bytes[bit >> 3] = 0;
      tried++;
    }
  }
  t.equal(seen.size, tried, `${tried} inputs, no collision`);
  t.end();
});

test('signature: a frozen value, so that a change of the scheme is noticed', (t) => {
  // If this fails and the change is wanted, raise WISDOM_SCHEMA and freeze the new value.
  t.equal(signature(PARTS), 's1-33d8a1ed82502fbcb379d472573836b4');
  t.end();
});

test('signature: the same in another process', (t) => {
  const url = new URL('../../src/plan/fingerprint.ts', import.meta.url).href;
  const script = `import { signature } from ${JSON.stringify(url)}; console.log(signature(${JSON.stringify(PARTS)}));`;
  const cwd = fileURLToPath(new URL('../..', import.meta.url));
  const args = [...process.execArgv, '--input-type=module', '-e', script];
  t.equal(execFileSync(process.execPath, args, { cwd, encoding: 'utf8' }).trim(), signature(PARTS));
  t.end();
});

test('signature: every part matters, order and padding do not', (t) => {
  const { engine, cpu } = PARTS;
  const variants: Record<string, FingerprintParts> = {
    base: PARTS,
    schema: { ...PARTS, schema: 2 },
    kernels: { ...PARTS, kernelTable: 'abd' },
    engine: { ...PARTS, engine: { ...engine, name: 'deno' } },
    version: { ...PARTS, engine: { ...engine, version: '20.20.3' } },
    v8: { ...PARTS, engine: { ...engine, v8: '11.4' } },
    arch: { ...PARTS, engine: { ...engine, arch: 'arm64' } },
    feature: { ...PARTS, features: ['simd'] },
    flag: { ...PARTS, engineFlags: ['--experimental-wasm-revectorize'] },
    'flag, not feature': { ...PARTS, features: ['simd'], engineFlags: ['threads'] },
    model: { ...PARTS, cpu: { ...cpu, model: 'Other CPU' } },
    cores: { ...PARTS, cpu: { ...cpu, cores: 4 } },
    threads: { ...PARTS, threadCap: 1 },
    gpu: { ...PARTS, gpu: ['Some GPU'] },
    'joined names': { ...PARTS, features: ['simd,threads'] },
  };
  const signatures = Object.values(variants).map(signature);
  t.equal(new Set(signatures).size, signatures.length, `${signatures.length} different configurations`);
  t.equal(
    signature({ ...PARTS, features: ['threads', 'simd', 'simd'] }),
    signature(PARTS),
    'features are a set',
  );
  const padded = { ...cpu, model: ' Some  CPU @ 2.00GHz ' };
  t.equal(signature({ ...PARTS, cpu: padded }), signature(PARTS), 'blanks in the model name do not count');
  t.end();
});
