import { type BenchRow, rowOf } from './row.ts';
import { decisionsRound } from './trust/decisions.ts';
import type { IssuanceFigures } from './trust/figures.ts';
import { issuanceRound } from './trust/issuance.ts';
import { signers } from './trust/signers.ts';

/**
 * How fast certificates are made: the signing path alone, beside @peculiar/x509 and node-forge doing the same; renewals
 * by gRPC, from the request to a chain whose journal entry is on disk; and the decisions of an authority without gRPC.
 */
export const needs: readonly string[] = [];

export interface TrustBenchOptions {
  readonly rounds: number;
  /** Of each measurement. */
  readonly seconds: number;
  /** Only these rows. */
  readonly only?: readonly string[];
}

type Round = (seconds: number) => Promise<IssuanceFigures>;

const kinds: readonly { readonly round: Round; readonly rows: readonly IssuanceRow[] }[] = [
  {
    round: issuanceRound,
    rows: [
      { what: 'durable_issuance_per_s', unit: '1/s', figure: 'perSecond' },
      { what: 'csr_to_chain_p99_ms', unit: 'ms', figure: 'p99Ms' },
      { what: 'loop_delay_p99_ms', unit: 'ms', figure: 'loopP99Ms' },
    ],
  },
  { round: decisionsRound, rows: [{ what: 'durable_decisions_per_s', unit: '1/s', figure: 'perSecond' }] },
];

interface IssuanceRow {
  readonly what: string;
  readonly unit: string;
  readonly figure: keyof IssuanceFigures;
}

export async function run({ rounds, seconds, only }: TrustBenchOptions): Promise<BenchRow[]> {
  const wanted = ({ what }: { readonly what: string }): boolean => only === undefined || only.includes(what);
  const rows: BenchRow[] = [];
  if (wanted({ what: 'signing_per_s' })) rows.push(await signing(rounds, seconds));
  for (const { round, rows: all } of kinds) {
    const durable = all.filter(wanted);
    const figures: IssuanceFigures[] = [];
    for (let done = 0; durable.length > 0 && done < rounds; done += 1) figures.push(await round(seconds));
    for (const { what, unit, figure } of durable) {
      rows.push(rowOf({ bench: 'trust', what, unit }, { isthmus: figures.map((each) => each[figure]) }));
    }
  }
  return rows;
}

async function signing(rounds: number, seconds: number): Promise<BenchRow> {
  const contestants = await signers();
  const figures: Record<string, number[]> = {};
  for (let round = 0; round < rounds; round += 1) {
    for (const { name, sign } of contestants) {
      (figures[name] ??= []).push(await perSecond(sign, seconds));
    }
  }
  return rowOf({ bench: 'trust', what: 'signing_per_s', unit: '1/s' }, figures);
}

async function perSecond(sign: (index: number) => unknown, seconds: number): Promise<number> {
  const begin = performance.now();
  let count = 0;
  while (performance.now() - begin < seconds * 1000) {
    // Ours is synchronous; awaiting it would only measure the microtask queue.
    const made = sign(count);
    if (made instanceof Promise) await made;
    count += 1;
  }
  return count / ((performance.now() - begin) / 1000);
}
