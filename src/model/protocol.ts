import type { RoutePort } from './route.ts';

/**
 * What is spoken on a service port. `http`: HTTP/1.1, and HTTP/2 by prior knowledge from clients that begin with it;
 * `http2`: HTTP/2 without TLS by prior knowledge; `grpc`: the same, and its requests are calls; `tcp`: bytes.
 */
export type PortProtocol = 'http' | 'http2' | 'grpc' | 'tcp';

const names: ReadonlyMap<string, PortProtocol> = new Map([
  ['http', 'http'],
  ['ws', 'http'],
  ['grpc-web', 'http'],
  ['http2', 'http2'],
  ['h2c', 'http2'],
  ['grpc', 'grpc'],
  ['kubernetes.io/h2c', 'http2'],
  ['kubernetes.io/ws', 'http'],
]);

/**
 * What the owner of a port says of it: its `appProtocol` (KEP-1435: an IANA service name or `kubernetes.io/…`), else
 * the first part of its name, as Istio reads names (`http`, `grpc-web`, `http2-api`). Any other word, and all that is
 * under TLS, is `tcp`. Undefined: it says nothing.
 */
export function declaredProtocol({
  appProtocol,
  name,
}: Pick<RoutePort, 'appProtocol' | 'name'>): PortProtocol | undefined {
  if (appProtocol !== undefined && appProtocol !== '') return names.get(appProtocol.toLowerCase()) ?? 'tcp';
  if (name === undefined) return undefined;
  const word = name.toLowerCase();
  if (word === 'grpc-web' || word.startsWith('grpc-web-')) return 'http';
  return names.get(word.split('-', 1)[0] ?? '');
}

/** Whether the requests on such a port can be told apart. */
export function carriesRequests(protocol: PortProtocol | undefined): boolean {
  return protocol !== undefined && protocol !== 'tcp';
}
