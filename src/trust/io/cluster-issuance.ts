import { IsthmusError, messageOf } from '../../model/error.ts';
import { roleOf, type SpiffeId, type TrustDomain, trustDomainOf } from '../../model/identity.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Attestation } from '../../model/ports/attestor.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { TrustSource } from '../../model/ports/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import type { KeyId, Svid } from '../../model/trust.ts';
import { CsrGate, type GateRequest } from '../issue/csr-gate.ts';
import type { RequestLimiter, RequestLimits } from '../issue/request-limiter.ts';
import { requireWorkloadId } from '../workload/attest.ts';
import type { Csr } from '../x509/csr.ts';
import type { ClusterKeys, IssuedLeaf } from './cluster-keys.ts';
import type { ClusterRecords } from './cluster-records.ts';
import { generateKeyPem, signerOf } from './keys.ts';

/** Shortest life of a leaf in ms: less would be renewed without end. */
const minLifeMs = 60_000;

/** Enough for a thousand gateways or pods that start at once, and far below what a core can sign. */
export const clusterLimits: RequestLimits = {
  global: { perSecond: 1000, burst: 4000 },
  renewalReserve: 0.25,
  source: { perSecond: 100, burst: 1000 },
  // All pods of one service account have one identity.
  identity: { perSecond: 20, burst: 1000 },
};

export interface ClusterIssuanceOptions {
  readonly cluster: ClusterName;
  readonly trustDomain: TrustDomain;
  readonly keys: ClusterKeys;
  readonly records: ClusterRecords;
  readonly limiter: RequestLimiter;
  readonly trust: TrustSource;
  /** Whether a CA of the federation has this key. */
  readonly isCaKey: (keyId: KeyId) => boolean;
  readonly svidLifeMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** A workload that proved who it is asks for a certificate. */
export interface WorkloadRequest {
  readonly attestation: Attestation;
  /** PKCS#10 DER. */
  readonly csr: Uint8Array;
  /** Asked-for life in ms. */
  readonly lifeMs?: number;
}

/** A gateway of the own cluster that proved which one it is asks for a certificate. */
export type GatewayRequest = Pick<WorkloadRequest, 'attestation' | 'csr'>;

/** The one place of an agent where leaves for others are decided on: gate, signature, journal, in this order. */
export class ClusterIssuance {
  readonly #options: ClusterIssuanceOptions;
  readonly #gateways: CsrGate;
  readonly #workloads: CsrGate;

  constructor(options: ClusterIssuanceOptions) {
    this.#options = options;
    this.#gateways = this.#gate(['p256']);
    this.#workloads = this.#gate(['p256', 'p384', 'rsa']);
  }

  get trustDomain(): TrustDomain {
    return this.#options.trustDomain;
  }

  /** Counts a call, before anything is done for it. `source`: as `getPeer` of gRPC spells it. @throws IsthmusError `exhausted` */
  arrive(source: string): void {
    const { limiter, clock } = this.#options;
    limiter.arrive(hostOf(source), clock.monotonic());
  }

  /** @throws IsthmusError `invalid`, `exhausted`, `denied`, `unavailable` */
  issueForGateway({ attestation, csr }: GatewayRequest): Promise<IssuedLeaf> {
    const { id, kind, by } = attestation;
    const idOf = (): SpiffeId => {
      this.#requireActive();
      if (roleOf(id)?.role === 'gateway' && trustDomainOf(id) === this.#options.trustDomain) return id;
      throw new IsthmusError('denied', `${id} is no gateway of ${this.#options.cluster}`);
    };
    return this.#issue(this.#gateways, { csr, identity: id, kind, idOf }, by);
  }

  /** @throws IsthmusError `invalid`, `exhausted`, `denied`, `unavailable` */
  issueForWorkload({ attestation, csr, lifeMs }: WorkloadRequest): Promise<IssuedLeaf> {
    const { id, kind, by } = attestation;
    const idOf = (): SpiffeId => {
      this.#requireActive();
      return requireWorkloadId(id, this.#options.trustDomain);
    };
    const asked = lifeMs !== undefined && { lifeMs };
    return this.#issue(this.#workloads, { csr, identity: id, kind, idOf, ...asked }, by);
  }

  /** A leaf with a key made here, for a workload that has none of its own. @throws IsthmusError `exhausted`, `denied`, `unavailable` */
  async issueWithKey({ id, kind, by }: Attestation): Promise<Svid> {
    const { trustDomain, limiter, clock, keys } = this.#options;
    requireWorkloadId(id, trustDomain);
    this.#requireActive();
    limiter.admit(id, kind, clock.monotonic());
    const keyPem = generateKeyPem();
    const leaf = await keys.issueLeaf({ profile: 'leaf', id, spki: signerOf(keyPem).spki, who: by });
    return { id, keyPem, ...leaf };
  }

  async #issue(gate: CsrGate, request: Omit<GateRequest, 'now'>, who: string): Promise<IssuedLeaf> {
    const { clock, keys } = this.#options;
    try {
      const { id, spki, lifeMs } = await gate.admit({ ...request, now: clock.monotonic() });
      return await keys.issueLeaf({ profile: 'leaf', id, spki, lifeMs, who });
    } catch (thrown) {
      await this.#deny(request.identity, who, IsthmusError.from(thrown));
      throw thrown;
    }
  }

  /** What comes too fast is not written down: a journal must not grow as callers like. */
  async #deny(subject: string, who: string, { code, message }: IsthmusError): Promise<void> {
    const { records, log } = this.#options;
    if (code === 'exhausted' || code === 'unavailable') return;
    try {
      await records.denied(subject, who, message);
    } catch (thrown) {
      // The caller is refused either way, and hears the reason of that.
      log.error({ subject, why: messageOf(thrown) }, 'a refusal is not in the journal');
    }
  }

  #requireActive(): void {
    const { trust, cluster } = this.#options;
    const state = trust.current?.roster.clusters.get(cluster)?.state;
    if (state === undefined || state === 'active') return;
    throw new IsthmusError('denied', `Cluster ${cluster} is ${state}: nothing is issued`);
  }

  #gate(keyTypes: readonly Csr['keyType'][]): CsrGate {
    const { limiter, svidLifeMs } = this.#options;
    return new CsrGate({
      limiter,
      keyTypes,
      life: { minMs: Math.min(minLifeMs, svidLifeMs), maxMs: svidLifeMs },
      keyProblem: (keyId, id) => this.#keyProblem(keyId, id),
    });
  }

  #keyProblem(keyId: KeyId, id: SpiffeId): string | undefined {
    const { isCaKey, records } = this.#options;
    if (isCaKey(keyId)) return `key ${keyId} is that of a CA`;
    const owner = records.ownerOf(keyId);
    return owner === undefined || owner === id ? undefined : `key ${keyId} is certified for another identity already`;
  }
}

/** The address of a caller without its port. */
function hostOf(peer: string): string {
  const colon = peer.lastIndexOf(':');
  return colon < 0 ? peer : peer.slice(0, colon);
}
