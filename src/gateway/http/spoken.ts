import { declaredProtocol, type PortProtocol } from '../../model/protocol.ts';
import type { RoutePort } from '../../model/route.ts';

/** `detect`: nothing is said of the port, and its first bytes decide. */
export type SpokenProtocol = PortProtocol | 'detect';

/**
 * How connections to a service port are taken. A port that says nothing carries bytes, unless this gateway may look: to
 * look means to wait for the client, which a client that waits for its server's greeting pays for.
 */
export function spokenOn(port: RoutePort | undefined, { detect }: { readonly detect: boolean }): SpokenProtocol {
  return (port && declaredProtocol(port)) ?? (detect ? 'detect' : 'tcp');
}
