/**
 * W3C Trace Context, level 1: the position of a request in a trace, as it travels in `traceparent` and `tracestate`.
 * Everything that is read here comes from a client and is hostile: nothing throws, everything is bounded.
 */
export interface TraceContext {
  /** 32 lower-case hex digits, not all 0. */
  readonly traceId: string;
  /** 16 lower-case hex digits, not all 0: the span that sent the request. */
  readonly spanId: string;
  /** Whether the sender may have recorded its span. */
  readonly sampled: boolean;
  /** What other tracing systems added, passed on as it came; undefined: nothing, or nothing that is well-formed. */
  readonly state: string | undefined;
}

/** A header field as it came: absent, once, or several times. */
export type FieldValue = string | readonly string[] | undefined;

/** §3.2.2: version, trace-id, parent-id, trace-flags; a version to come may add more behind another `-`. */
const form = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
/** A version that we do not know may be longer, but not without end. */
const maxParentLength = 256;
/** §3.3.1.1 */
const maxMembers = 32;
/** §3.3.1.5 asks for at least 512 to be passed on. */
const maxStateLength = 2048;
/** §3.3.1.3: a key with or without tenant, and a value of printable ASCII without `,` and `=`, no blank at its end. */
const member =
  /^(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

/** Undefined: none, or none that is valid (§4.3: then a new trace begins). */
export function parseTraceContext(parent: FieldValue, state: FieldValue): TraceContext | undefined {
  const text = single(parent);
  if (text === undefined || text.length > maxParentLength) return undefined;
  const match = form.exec(text);
  if (!match) return undefined;
  const [, version, traceId = '', spanId = '', flags = '', more] = match;
  if (version === 'ff' || (version === '00' && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1, state: parseState(state) };
}

/** §3.2.2, version 00. */
export function formatTraceparent({ traceId, spanId, sampled }: Omit<TraceContext, 'state'>): string {
  return `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`;
}

/** §3.2.1: a parent that is there twice is no parent. */
function single(value: FieldValue): string | undefined {
  if (value === undefined || typeof value === 'string') return value;
  return value.length === 1 ? value[0] : undefined;
}

/** §3.3: several fields are one list in their order; of a list with a fault in it nothing is used. */
function parseState(value: FieldValue): string | undefined {
  if (value === undefined) return undefined;
  const text = typeof value === 'string' ? value : value.join(',');
  if (text.length > maxStateLength) return undefined;
  const members: string[] = [];
  const keys = new Set<string>();
  for (const part of text.split(',')) {
    const trimmed = part.replace(/^[ \t]+|[ \t]+$/g, '');
    if (trimmed === '') continue;
    if (!member.test(trimmed)) return undefined;
    keys.add(trimmed.slice(0, trimmed.indexOf('=')));
    members.push(trimmed);
  }
  if (members.length === 0 || members.length > maxMembers || keys.size < members.length) return undefined;
  return members.join(',');
}
