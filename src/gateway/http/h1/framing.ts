import { FieldKind, type FieldLines } from './fields.ts';

/** How long the body of a message is (RFC 9112 §6.3). */
export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' }
  /** Of a response only: up to the end of the connection. */
  | { readonly kind: 'close' };

export const noBody: Framing = { kind: 'none' };
const chunked: Framing = { kind: 'chunked' };

/** Why a length is not known; `unknown`: by a transfer coding that nobody here knows. */
export interface FramingFault {
  readonly kind: 'fault';
  readonly reason: string;
  readonly unknown: boolean;
}

const digits = /^[0-9]{1,15}$/;

/**
 * What the fields say: undefined when they say nothing. Whatever two readers could take for two lengths is a fault: both
 * fields at once, one of them twice, lists, any coding besides `chunked`.
 */
export function framingOf(fields: FieldLines, minor: number): Framing | FramingFault | undefined {
  let length: string | undefined;
  let coding: string | undefined;
  for (let index = 0; index < fields.count; index += 1) {
    const kind = fields.kind(index);
    if (kind === FieldKind.contentLength) {
      if (length !== undefined) return fault('There must be one content-length');
      if (fields.hasTab(index)) return fault('The content-length must be one number');
      length = fields.value(index);
    } else if (kind === FieldKind.transferEncoding) {
      if (coding !== undefined) return fault('There must be one transfer-encoding');
      if (fields.hasTab(index)) return fault('The transfer-encoding cannot be understood');
      coding = fields.value(index);
    }
  }
  if (coding !== undefined) {
    if (length !== undefined) return fault('There must not be both content-length and transfer-encoding');
    if (minor === 0) return fault('There is no transfer-encoding in HTTP/1.0');
    if (coding.toLowerCase() === 'chunked') return chunked;
    return /^[\w-]+(?:[ \t]*,[ \t]*[\w-]+)*$/.test(coding) && !/chunked.*chunked/i.test(coding)
      ? { kind: 'fault', reason: "The only transfer coding that is known here is 'chunked'", unknown: true }
      : fault('The transfer-encoding cannot be understood');
  }
  if (length === undefined) return undefined;
  if (!digits.test(length)) return fault('The content-length must be one number');
  return { kind: 'length', length: Number(length) };
}

function fault(reason: string): FramingFault {
  return { kind: 'fault', reason, unknown: false };
}
