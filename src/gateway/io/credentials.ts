import type { SecureContext } from 'node:tls';
import { IsthmusError } from '../../model/error.ts';
import { isReservedPath, type SpiffeId, roleOf } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import type { PeerVerifier, SvidSource, TrustSource } from '../../model/ports/identity.ts';
import type { PeerVerdict } from '../../model/trust.ts';
import { secureContextOf } from '../../runtime/io/tls.ts';

/** A gateway of a member cluster, or as a caller a workload of it, as TLS proved it. */
export interface GatewayPeer {
  readonly id: SpiffeId;
  readonly cluster: ClusterName;
  /** As it was verified, for another look when trust changes. */
  readonly chain: readonly Uint8Array[];
  /** Wall clock in ms at which the certificate runs out. */
  readonly notAfter: number;
}

export interface CredentialsOptions {
  readonly svid: SvidSource;
  readonly trust: TrustSource;
  readonly verifier: PeerVerifier;
}

/** One TLS context for all connections, made anew when identity or trust change; and the judgement on peers. */
export class Credentials {
  readonly #options: CredentialsOptions;
  readonly #ends: (() => void)[];
  #context: SecureContext | undefined;
  #generation = 0;

  constructor(options: CredentialsOptions) {
    this.#options = options;
    const forget = (): void => {
      this.#context = undefined;
    };
    const renewed = (): void => {
      forget();
      this.#generation += 1;
    };
    this.#ends = [options.svid.subscribe(renewed), options.trust.subscribe(forget)];
  }

  /** Grows with each new identity of this gateway. */
  get generation(): number {
    return this.#generation;
  }

  /** Undefined: there is no identity or nothing to trust yet. */
  context(): SecureContext | undefined {
    const svid = this.#options.svid.current;
    const trust = this.#options.trust.current;
    if (!svid || !trust) return undefined;
    this.#context ??= secureContextOf({
      identity: svid,
      anchors: distinct([...trust.bundles.values()].flatMap((bundle) => bundle.anchors)),
    });
    return this.#context;
  }

  /** Accepts gateways of one cluster only. @throws IsthmusError `unauthenticated`, `denied` */
  check(chain: readonly Uint8Array[], cluster: ClusterName): GatewayPeer {
    const peer = this.#verified(chain);
    if (roleOf(peer.id)?.role === 'gateway' && peer.cluster === cluster) return peer;
    throw new IsthmusError('denied', `Peer must be a gateway of cluster '${cluster}': it is '${peer.id}'`);
  }

  /**
   * Accepts who may call: gateways and workloads of members, none of the other roles.
   * @throws IsthmusError `unauthenticated`, `denied`
   */
  checkCaller(chain: readonly Uint8Array[]): GatewayPeer {
    const peer = this.#verified(chain);
    if (roleOf(peer.id)?.role === 'gateway' || !isReservedPath(peer.id)) return peer;
    throw new IsthmusError('denied', `Peer must be a gateway or a workload of a member cluster: it is '${peer.id}'`);
  }

  #verified(chain: readonly Uint8Array[]): GatewayPeer {
    const verdict = this.#options.verifier.verify(chain);
    if (!verdict.ok) {
      throw new IsthmusError('unauthenticated', `Peer was refused (${verdict.reason}): ${verdict.detail}`);
    }
    const { id, notAfter, cluster } = verdict;
    if (cluster === undefined) throw new IsthmusError('denied', `Peer must be of a member cluster: it is '${id}'`);
    return { id, cluster, chain, notAfter };
  }

  /** Judges a peer again, by what is trusted now. */
  recheck(peer: GatewayPeer): PeerVerdict {
    return this.#options.verifier.verify(peer.chain);
  }

  close(): void {
    for (const end of this.#ends) end();
  }
}

/** Bundles of clusters share the federation's anchors; OpenSSL needs each once. */
function distinct(anchors: readonly Uint8Array[]): Uint8Array[] {
  const byBytes = new Map(anchors.map((der) => [Buffer.from(der).toString('base64'), der]));
  return [...byBytes.values()];
}
