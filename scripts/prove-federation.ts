import { simulate } from '../test/simulation/support/simulate.ts';
import type { Proof } from './prove.ts';

// ISTHMUS_ROUNDS=5000 ISTHMUS_SEED=1 npm run prove -- federation   the same storms each time

function whole(variable: string, otherwise: number): number {
  const value = Number(process.env[variable] ?? otherwise);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new Error(`${variable} must be a positive integer: current value is '${process.env[variable]}'`);
}

/** Simulated federations in a storm, one seed after the other; fails with the seed of the first that breaks. */
async function storms(): Promise<object> {
  const rounds = whole('ISTHMUS_ROUNDS', 500);
  const seed = whole('ISTHMUS_SEED', Math.floor(Date.now() / 1000));
  let events = 0;
  let simulatedMs = 0;
  for (let next = seed; next < seed + rounds; next += 1) {
    const result = await simulate(next);
    events += result.events.length;
    simulatedMs += result.simulatedMs;
  }
  return { seed, rounds, events, simulatedDays: Math.round(simulatedMs / 86_400_000) };
}

export const proofs: Readonly<Record<string, Proof>> = { storms };
