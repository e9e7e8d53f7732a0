import { type SpiffeId, parseSpiffeId } from '../model/identity.ts';
import { type ClusterName, isPort, nameOf, namespaceOf, parseClusterName, type ServiceKey } from '../model/names.ts';
import { parseServiceKey } from '../model/names.ts';

/**
 * Headers of the HBONE CONNECT request and its answer (wire.md, "HBONE"). Everything that is decoded here came from
 * another cluster and is hostile until it was understood: nothing throws, everything is bounded.
 */

/** Suffix of every authority that a gateway answers for (KEP-1645, "clusterset.local"). */
const suffix = '.svc.clusterset.local';
const authorityForm =
  /^([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)\.([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)\.svc\.clusterset\.local:([1-9][0-9]{0,4})$/;
/** 63 + 1 + 63, the suffix, `:65535`. */
const maxAuthorityLength = 127 + suffix.length + 6;
/** An IPv4 address or a bracketed IPv6 one, with or without a port. */
const addressForm = /^(?:[0-9.]+|\[[^\]]*\])(?::[0-9]*)?$/;
/** W3C Baggage asks for at least 8192 bytes; no more is read here. */
const maxBaggageLength = 8192;
const maxBaggageMembers = 64;
const maxHeaderLength = 2048;
/** W3C Trace Context §3.2, version 00. */
const traceparentForm = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** Header fields as HTTP/2 libraries hand them over: lower-case names. */
export type HeaderFields = Readonly<Record<string, string | readonly string[] | number | undefined>>;

/** Why a gateway did not open a tunnel; travels in `x-isthmus-reason`. */
export type RefusalReason =
  | 'malformed'
  /** The authority was an address: only names of exported services are served. */
  | 'address-authority'
  /** Unknown here, or known and not exported: the caller cannot tell which. */
  | 'not-exported'
  | 'unknown-port'
  | 'denied'
  /** The request had already passed a gateway. */
  | 'loop'
  | 'no-ready-endpoint'
  | 'connect-failed'
  | 'overloaded'
  | 'draining';

const statuses: Readonly<Record<RefusalReason, number>> = {
  malformed: 400,
  'address-authority': 403,
  'not-exported': 404,
  'unknown-port': 404,
  denied: 403,
  loop: 508,
  'no-ready-endpoint': 503,
  'connect-failed': 503,
  overloaded: 503,
  draining: 503,
};

/** The HTTP status that goes with a refusal. */
export function statusOf(reason: RefusalReason): number {
  return statuses[reason];
}

/** What a gateway asks of another one. */
export interface ConnectRequest {
  readonly service: ServiceKey;
  /** Service port, not the endpoint's. */
  readonly port: number;
  /** Gateways that the connection has passed before the sender: 0 from a client's own gateway. */
  readonly hop: number;
  /** The sender's own word; unproven. */
  readonly sourceCluster?: ClusterName;
  /** Who the sender says the caller is; unproven, see `acceptAssertion`. */
  readonly sourceIdentity?: SpiffeId;
  /** `address:port` of the caller as its gateway saw it. */
  readonly forwardedFor?: string;
  readonly traceparent?: string;
  /** 0 to 65535: what `consistentHash` goes by at the receiving side, instead of the caller's address. */
  readonly bucket?: number;
}

/** Why a request makes no sense, whoever sends it. */
export type MalformedReason = Extract<RefusalReason, 'malformed' | 'address-authority'>;

export type ConnectDecoded =
  | { readonly ok: true; readonly request: ConnectRequest }
  | { readonly ok: false; readonly reason: MalformedReason; readonly detail: string };

/** `<service>.<namespace>.svc.clusterset.local:<port>`. */
function authorityOf(service: ServiceKey, port: number): string {
  return `${nameOf(service)}.${namespaceOf(service)}${suffix}:${port}`;
}

/** Request headers, ready for an HTTP/2 client. */
export function encodeConnect(request: ConnectRequest): Record<string, string> {
  const { service, port, hop, sourceCluster, sourceIdentity, forwardedFor, traceparent, bucket } = request;
  return {
    ':method': 'CONNECT',
    ':authority': authorityOf(service, port),
    ...(forwardedFor !== undefined && { forwarded: `for="${forwardedFor}"` }),
    ...(sourceCluster !== undefined && { baggage: `k8s.cluster.name=${sourceCluster}` }),
    ...(traceparent !== undefined && { traceparent }),
    ...(sourceIdentity !== undefined && { 'x-isthmus-source-identity': sourceIdentity }),
    ...(hop > 0 && { 'x-isthmus-hop': String(hop) }),
    ...(bucket !== undefined && { 'x-isthmus-bucket': String(bucket) }),
  };
}

/** Never throws. What is not understood beside the authority and the hop count is left out, not refused. */
export function decodeConnect(headers: HeaderFields): ConnectDecoded {
  if (headers[':method'] !== 'CONNECT') return refuse('malformed', 'The method must be CONNECT');
  const authority = headers[':authority'];
  if (typeof authority !== 'string' || authority.length > maxAuthorityLength) {
    return refuse('malformed', 'The authority must be <service>.<namespace>.svc.clusterset.local:<port>');
  }
  if (addressForm.test(authority)) {
    return refuse('address-authority', `The authority must name a service, not an address: '${authority}'`);
  }
  const match = authorityForm.exec(authority);
  const port = Number(match?.[3]);
  if (!match || !isPort(port)) {
    return refuse('malformed', 'The authority must be <service>.<namespace>.svc.clusterset.local:<port>');
  }
  const hop = hopOf(headers['x-isthmus-hop']);
  if (hop === undefined) return refuse('malformed', 'x-isthmus-hop must be one number from 0 to 255');
  const sourceCluster = clusterOf(headers['baggage']);
  const sourceIdentity = attempt(headers['x-isthmus-source-identity'], parseSpiffeId);
  const forwardedFor = forwardedOf(headers['forwarded']);
  const traceparent = headers['traceparent'];
  const bucket = bucketOf(headers['x-isthmus-bucket']);
  return {
    ok: true,
    request: {
      service: parseServiceKey(`${match[2]}/${match[1]}`),
      port,
      hop,
      ...(sourceCluster !== undefined && { sourceCluster }),
      ...(sourceIdentity !== undefined && { sourceIdentity }),
      ...(forwardedFor !== undefined && { forwardedFor }),
      ...(typeof traceparent === 'string' && traceparentForm.test(traceparent) && { traceparent }),
      ...(bucket !== undefined && { bucket }),
    },
  };
}

function refuse(reason: MalformedReason, detail: string): ConnectDecoded {
  return { ok: false, reason, detail };
}

function hopOf(value: HeaderFields[string]): number | undefined {
  if (value === undefined) return 0;
  if (typeof value !== 'string' || !/^[0-9]{1,3}$/.test(value)) return undefined;
  const hop = Number(value);
  return hop <= 255 ? hop : undefined;
}

function bucketOf(value: HeaderFields[string]): number | undefined {
  const bucket = typeof value === 'string' && /^[0-9]{1,5}$/.test(value) ? Number(value) : undefined;
  return bucket !== undefined && bucket <= 65_535 ? bucket : undefined;
}

/** W3C Baggage: `key=value;properties, …`; only the cluster's name is of use here. */
function clusterOf(value: HeaderFields[string]): ClusterName | undefined {
  if (typeof value !== 'string' || value.length > maxBaggageLength) return undefined;
  for (const member of value.split(',', maxBaggageMembers)) {
    const [pair = ''] = member.split(';', 1);
    const equals = pair.indexOf('=');
    if (pair.slice(0, equals).trim() === 'k8s.cluster.name') {
      return attempt(pair.slice(equals + 1).trim(), parseClusterName);
    }
  }
  return undefined;
}

/** RFC 7239 §4, first `for` only; kept when it looks like an address with a port. */
function forwardedOf(value: HeaderFields[string]): string | undefined {
  if (typeof value !== 'string' || value.length > maxHeaderLength) return undefined;
  const match = /^for="([0-9a-fA-F.:[\]]{2,64})"/i.exec(value);
  return match?.[1];
}

function attempt<T>(value: HeaderFields[string], parse: (text: string) => T): T | undefined {
  if (typeof value !== 'string' || value.length > maxHeaderLength) return undefined;
  try {
    return parse(value);
  } catch {
    // The value is a claim that cannot be believed anyway: as if it had not been made.
    return undefined;
  }
}

/**
 * Asks a gateway whether it is there and what it carries, without opening anything: `OPTIONS *`, which HTTP has for
 * that (RFC 9110 §9.3.7).
 */
export function encodeProbe(): Record<string, string> {
  return { ':method': 'OPTIONS', ':scheme': 'https', ':path': '*' };
}

export function isProbe(headers: HeaderFields): boolean {
  return headers[':method'] === 'OPTIONS' && headers[':path'] === '*';
}

/** `load`: connections that the answering gateway carries. */
export function encodeProbeAnswer(load: number): Record<string, string | number> {
  return { ':status': 204, 'x-isthmus-load': String(load) };
}

/** What the peer says it carries, in any answer; undefined when it does not say. Never throws. */
export function decodeLoad(headers: HeaderFields): number | undefined {
  const load = headers['x-isthmus-load'];
  return typeof load === 'string' && /^[0-9]{1,9}$/.test(load) ? Number(load) : undefined;
}

/** Answer to an opened tunnel. `load`: connections that the answering gateway carries for this service now. */
export function encodeAccepted(load: number): Record<string, string | number> {
  return { ':status': 200, 'x-isthmus-load': String(load) };
}

/** Answer that refuses: no byte of the caller has been used, it may try elsewhere. */
export function encodeRefused(reason: RefusalReason): Record<string, string | number> {
  return { ':status': statuses[reason], 'x-isthmus-reason': reason };
}

export type ConnectAnswer =
  | { readonly ok: true; readonly load: number | undefined }
  | {
      readonly ok: false;
      readonly status: number;
      /** Undefined: a peer of another make, or one that speaks later words. */
      readonly reason: RefusalReason | undefined;
    };

/** Never throws. */
export function decodeAnswer(headers: HeaderFields): ConnectAnswer {
  const status = Number(headers[':status']);
  if (status === 200) return { ok: true, load: decodeLoad(headers) };
  const reason = headers['x-isthmus-reason'];
  return {
    ok: false,
    status: Number.isInteger(status) ? status : 0,
    reason: typeof reason === 'string' && Object.hasOwn(statuses, reason) ? (reason as RefusalReason) : undefined,
  };
}
