import { parseSpiffeId, type SpiffeId } from '../../model/identity.ts';
import type { IssuedBy, KeyId } from '../../model/trust.ts';

/** Who acts, in the journal of an agent, when nobody asked. */
export const ownHand = 'this agent itself';

/** One certificate that an agent replica signed, as its journal keeps it. */
export interface Issuance {
  readonly id: SpiffeId;
  readonly keyId: KeyId;
  /** Key id of the intermediate that signed. */
  readonly issuer: KeyId;
  /** Lower-case hex. */
  readonly serial: string;
  /** Wall clock in ms, whole seconds. */
  readonly notAfter: number;
}

const shape = /^key ([0-9a-f]{2,128}), issuer ([0-9a-f]{2,128}), serial ([0-9a-f]{2,40}), until (\S{20,30})$/;

/** The detail of a journal entry about an issuance, for people and for `decodeIssuance`; the id is its subject. */
export function encodeIssuance({ keyId, issuer, serial, notAfter }: Issuance): string {
  return `key ${keyId}, issuer ${issuer}, serial ${serial}, until ${new Date(notAfter).toISOString()}`;
}

/** Reads subject and detail of a journal entry; undefined: they are none of `encodeIssuance`. Never throws. */
export function decodeIssuance(subject: string, detail: string): Issuance | undefined {
  const [, keyId, issuer, serial, until] = shape.exec(detail) ?? [];
  const notAfter = Date.parse(until ?? '');
  if (keyId === undefined || issuer === undefined || serial === undefined || Number.isNaN(notAfter)) return undefined;
  try {
    return { id: parseSpiffeId(subject), keyId, issuer, serial, notAfter };
  } catch {
    // The journal is our own; an entry that names no id is about something else.
    return undefined;
  }
}

const summaryShape = /^live (\d{1,15}), until (\S{20,30})$/;

/** The detail of an entry that carries counts over into a new segment of the journal; the key id is its subject. */
export function encodeIssuedBy({ live, lastNotAfter }: IssuedBy): string {
  return `live ${live}, until ${new Date(lastNotAfter).toISOString()}`;
}

/** Reads what `encodeIssuedBy` wrote; undefined for anything else. */
export function decodeIssuedBy(subject: string, detail: string): IssuedBy | undefined {
  const [, live, until] = summaryShape.exec(detail) ?? [];
  const lastNotAfter = Date.parse(until ?? '');
  return live === undefined || Number.isNaN(lastNotAfter)
    ? undefined
    : { keyId: subject, live: Number(live), lastNotAfter };
}
