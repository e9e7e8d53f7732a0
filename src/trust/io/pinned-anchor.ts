import { IsthmusError } from '../../model/error.ts';
import { dialTls, secureContextOf } from '../../runtime/io/tls.ts';
import { requireHostPort } from '../../model/address.ts';
import { fingerprintOf } from '../x509/read.ts';

export interface PinnedAnchorOptions {
  /** `host:port` */
  readonly address: string;
  /** Lower-case hex SHA-256 of the anchor's DER. */
  readonly rootSha256: string;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * Fetches the anchor that a token pins from whoever answers; nothing is trusted but the hash. DER.
 * @throws IsthmusError `unauthenticated` if the server shows another root, `unavailable`, `timeout`
 */
export async function fetchPinnedAnchor(options: PinnedAnchorOptions): Promise<Uint8Array> {
  const { address, rootSha256, timeoutMs, signal } = options;
  const { socket, peer } = await dialTls<Uint8Array>({
    ...requireHostPort(address),
    context: secureContextOf({ anchors: [] }),
    alpn: ['h2'],
    unanchored: true,
    check: (chain) => {
      const pinned = chain.find((certificate) => fingerprintOf(certificate) === rootSha256);
      if (pinned) return pinned;
      throw new IsthmusError(
        'unauthenticated',
        `The server at ${address} does not present the root ${rootSha256} that the token pins`,
        { hint: 'The token is of another federation, or somebody is in between.' },
      );
    },
    timeoutMs,
    ...(signal && { signal }),
  });
  socket.on('error', () => undefined);
  socket.destroy();
  return peer;
}
