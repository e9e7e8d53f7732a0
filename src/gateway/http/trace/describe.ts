import type { ClusterName } from '../../../model/names.ts';
import type { Exchange } from '../exchange.ts';
import { grpcStatus } from '../grpc/status.ts';
import type { SpanAttribute } from './span.ts';
import type { SpanEnd } from './tracer.ts';

/**
 * What spans of requests say: OpenTelemetry's semantic conventions for HTTP and RPC, 1.2x, and of ours what only a mesh
 * of clusters knows.
 */

/** One try, after its end. */
export interface TryFacts {
  /** Where it went; undefined: nowhere. */
  readonly host: string | undefined;
  readonly cluster: ClusterName | undefined;
  /** 0: no response began. */
  readonly status: number;
  readonly grpcStatus: number | undefined;
  /** Tries before this one. */
  readonly resends: number;
  /** Why it came to nothing, as a short word. */
  readonly error: string | undefined;
}

/** RFC 9110 §9 and RFC 5789; any other name is one that a client made up. */
const methods: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
  'PATCH',
]);

/** "Status" of the conventions: what the server is to blame for. */
const serverFaults: ReadonlySet<number> = new Set([
  grpcStatus.unknown,
  grpcStatus.deadlineExceeded,
  grpcStatus.unimplemented,
  grpcStatus.internal,
  grpcStatus.unavailable,
  15,
]);

export function describeServer(exchange: Exchange): SpanEnd {
  const { request, status, flag, service, cluster, about, details } = exchange;
  const attributes = commonAttributes(exchange, exchange.grpcStatus, status);
  if (about.remoteAddress !== undefined) attributes.push(['client.address', about.remoteAddress]);
  if (request.userAgent !== undefined) attributes.push(['user_agent.original', request.userAgent]);
  if (service !== undefined) attributes.push(['isthmus.destination_service', service]);
  if (about.sourceCluster !== undefined) attributes.push(['isthmus.source_cluster', about.sourceCluster]);
  if (cluster !== undefined) attributes.push(['isthmus.destination_cluster', cluster]);
  if (flag !== '-') attributes.push(['isthmus.response_flags', flag]);
  const failed = status >= 500 || (exchange.grpcStatus !== undefined && serverFaults.has(exchange.grpcStatus));
  const error = failed ? (details ?? String(exchange.grpcStatus ?? status)) : undefined;
  if (error !== undefined) attributes.push(['error.type', error]);
  return { name: nameOf(exchange), attributes, error };
}

export function describeClient(exchange: Exchange, facts: TryFacts): SpanEnd {
  const { host, cluster, status, resends } = facts;
  const attributes = commonAttributes(exchange, facts.grpcStatus, status);
  if (host !== undefined) attributes.push(['server.address', host]);
  if (cluster !== undefined) attributes.push(['isthmus.destination_cluster', cluster]);
  if (resends > 0) attributes.push(['http.request.resend_count', resends]);
  const failed = status >= 400 || (facts.grpcStatus !== undefined && facts.grpcStatus !== grpcStatus.ok);
  const error = facts.error ?? (failed ? String(facts.grpcStatus ?? status) : undefined);
  if (error !== undefined) attributes.push(['error.type', error]);
  return { name: nameOf(exchange), attributes, error };
}

/** Names must be few: of a call its method, of any other request only its verb. */
function nameOf({ request, grpcStatus: call }: Exchange): string {
  const { method, path } = request;
  if (call !== undefined && path !== undefined) return path.slice(1, 200);
  return method !== undefined && methods.has(method) ? method : 'HTTP';
}

function commonAttributes({ request, port }: Exchange, call: number | undefined, status: number): SpanAttribute[] {
  const { method, path = '', protocol, authority } = request;
  const query = path.indexOf('?');
  const attributes: SpanAttribute[] = [
    ['http.request.method', method !== undefined && methods.has(method) ? method : '_OTHER'],
    ['url.scheme', 'http'],
    ['url.path', query < 0 ? path : path.slice(0, query)],
    ['server.port', port],
    ['network.protocol.version', protocol.slice('HTTP/'.length)],
  ];
  if (authority !== undefined) attributes.push(['http.request.header.host', authority]);
  if (status > 0) attributes.push(['http.response.status_code', status]);
  if (call !== undefined) {
    attributes.push(['rpc.system', 'grpc'], ['rpc.grpc.status_code', call]);
    const slash = path.indexOf('/', 1);
    if (slash > 0) attributes.push(['rpc.service', path.slice(1, slash)], ['rpc.method', path.slice(slash + 1)]);
  }
  return attributes;
}
