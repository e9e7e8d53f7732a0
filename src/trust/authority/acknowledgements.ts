import { IsthmusError } from '../../model/error.ts';
import type { ClusterName, ReplicaName } from '../../model/names.ts';
import { type AckRecord, type RecordKey, recordKeyOf } from '../../model/record.ts';
import { decodeRecord, encodeRecord } from '../../wire/record.ts';

/** Replicas of one cluster, as many as an agent may speak of. */
const maxAcks = 512;
/** What nobody repeats for so long, in ms, is forgotten: its replica is gone. */
const memoryMs = 10 * 60_000;

/** What one replica proved to present and to trust, by the word of an agent of its cluster. */
export interface HeardAck {
  readonly ack: AckRecord;
  /** The agent that said so. */
  readonly by: ReplicaName;
  /** Monotonic ms. */
  readonly heardAt: number;
}

/** One on its way: the record and its key. */
export interface WireAck {
  readonly key: RecordKey;
  readonly record: Uint8Array;
}

export function encodeAcks(acks: Iterable<AckRecord>): WireAck[] {
  return Array.from(acks, (ack) => ({ key: recordKeyOf(ack), record: encodeRecord(ack) }));
}

/** @throws IsthmusError `invalid`, naming the one that does not decode and why */
export function decodeAcks(given: readonly WireAck[]): readonly AckRecord[] {
  if (given.length > maxAcks) {
    throw new IsthmusError('invalid', `${given.length} acknowledgements are over the limit of ${maxAcks}`);
  }
  return given.map(({ key, record }) => {
    const decoded = decodeRecord(key, record);
    if (decoded.ok && decoded.record.kind === 'ack') return decoded.record;
    const why = decoded.ok ? `it is of kind ${decoded.record.kind}` : decoded.detail;
    throw new IsthmusError('invalid', `Acknowledgement '${key.slice(0, 100)}' is refused: ${why}`);
  });
}

interface Held extends HeardAck {
  /** What the journal last said of it. */
  readonly told: { readonly sequence: number; readonly issuer: string } | undefined;
}

/** What an agent reports. */
export interface AckReport {
  readonly cluster: ClusterName;
  readonly by: ReplicaName;
  readonly acks: readonly AckRecord[];
  /** Monotonic ms. */
  readonly now: number;
}

/**
 * What every replica of the federation presents and trusts. Times are monotonic ms.
 *
 * Rosters follow each other all the time, and each is acknowledged by everybody. The journal hears of what somebody may
 * ask for later: that a replica is there, that it presents a chain of another issuer, and that it knows a roster that
 * took something away.
 */
export class AckBook {
  readonly #clusters = new Map<ClusterName, Map<RecordKey, Held>>();
  #milestone: number;

  /** @param milestone the roster of which it is worth knowing who has it */
  constructor(milestone: number) {
    this.#milestone = milestone;
  }

  /** Roster `sequence` took something away. */
  note(sequence: number): void {
    this.#milestone = Math.max(this.#milestone, sequence);
  }

  /** Takes a report; what of it the journal is to hear, as far as `told` is called for it. */
  report({ cluster, by, acks, now }: AckReport): readonly AckRecord[] {
    const held = this.#of(cluster, now);
    this.#clusters.set(cluster, held);
    return acks.filter((ack) => {
      const key = recordKeyOf(ack);
      const before = held.get(key);
      if (!before && held.size >= maxAcks) return false;
      const told = before?.told;
      held.set(key, { ack, by, heardAt: now, told });
      const passed = told !== undefined && told.sequence < this.#milestone && ack.rosterSequence >= this.#milestone;
      return told === undefined || told.issuer !== issuerOf(ack) || passed;
    });
  }

  /** The journal has these now. */
  told(cluster: ClusterName, acks: readonly AckRecord[]): void {
    const held = this.#clusters.get(cluster);
    for (const ack of acks) {
      const entry = held?.get(recordKeyOf(ack));
      const told = { sequence: ack.rosterSequence, issuer: issuerOf(ack) };
      if (entry) held?.set(recordKeyOf(ack), { ...entry, told });
    }
  }

  /** What other agents of the same cluster last said. */
  siblings(cluster: ClusterName, by: ReplicaName, now: number): readonly AckRecord[] {
    return [...this.#of(cluster, now).values()].filter((each) => each.by !== by).map(({ ack }) => ack);
  }

  all(now: number): ReadonlyMap<ClusterName, readonly HeardAck[]> {
    return new Map([...this.#clusters.keys()].map((cluster) => [cluster, [...this.#of(cluster, now).values()]]));
  }

  #of(cluster: ClusterName, now: number): Map<RecordKey, Held> {
    const held = this.#clusters.get(cluster) ?? new Map<RecordKey, Held>();
    for (const [key, { heardAt }] of held) if (now - heardAt > memoryMs) held.delete(key);
    return held;
  }
}

/** Key id of the intermediate under which a replica's leaf stands. */
function issuerOf({ chain }: AckRecord): string {
  return chain[1]?.keyId ?? '';
}

/** For the journal. */
export function describeAck({ rosterSequence, bundleSequence, chain }: AckRecord): string {
  const path = chain.map(({ keyId }) => keyId).join(' ← ');
  return `roster ${rosterSequence}, bundle ${bundleSequence}, presents ${path}`;
}
