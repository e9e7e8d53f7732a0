import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { compareOnce, type Tally } from '../test/gateway/http/support/differential.ts';
import type { Proof } from './prove.ts';

const defaultSeconds = 60;
const progressMs = 10_000;
/** Inputs between two looks at the clock. */
const slice = 1000;
const maxSeed = 2 ** 31 - 1;
const kinds = ['request', 'response'] as const;

/**
 * What the gateway reads as HTTP/1.1 against llhttp, on other inputs in each run: whatever it accepts llhttp accepts and
 * reads the same in it, whole or in pieces, and what goes on is one request again. A failure names its seed;
 * `--seed <n> --seconds 1` begins with it.
 */
export const httpFuzz: Proof = async ({ seconds = defaultSeconds, seed: from = randomInt(maxSeed) } = {}) => {
  const tally: Tally = { both: 0, stricter: 0, refused: 0 };
  const started = performance.now();
  let told = started;
  let inputs = 0;
  for (let now = started; now - started < seconds * 1000; now = performance.now()) {
    for (let index = 0; index < slice; index += 1) {
      const seed = (from + inputs) % maxSeed;
      for (const kind of kinds) compareOnce(seed, kind, tally);
      inputs += 1;
    }
    if (now - told < progressMs) continue;
    told = now;
    process.stderr.write(`http-fuzz: ${inputs} seeds from ${from}, ${JSON.stringify(tally)}\n`);
  }
  assert.ok(tally.both > inputs / 4, `too little was accepted for that to mean something: ${JSON.stringify(tally)}`);
  const { both: readAlike, refused, stricter: refusedHereOnly } = tally;
  return { fromSeed: from, seeds: inputs, readAlike, refused, refusedHereOnly };
};
