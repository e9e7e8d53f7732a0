import { messageOf } from '../../model/error.ts';
import type { ClusterName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Log } from '../../model/ports/log.ts';
import type { KeyId } from '../../model/trust.ts';
import { AuthorityClock } from '../issue/authority-clock.ts';
import { RosterHolder, type RosterOffer } from '../roster-holder.ts';
import { keyIdOf } from '../x509/certificate.ts';
import { readCertificate } from '../x509/read.ts';
import type { AgentFiles, Membership } from './agent-files.ts';
import { toBase64 } from './state-file.ts';

/** A roster that comes so soon after the stream opened, in ms, may be an old one. */
const settledMs = 500;

/** The rosters of one agent: verified, kept on disk, and what they say of this cluster's own keys and of the time. */
export class ClusterRosters {
  readonly holder: RosterHolder;
  readonly authorityClock: AuthorityClock = new AuthorityClock();
  readonly #file: AgentFiles['roster'];
  readonly #cluster: ClusterName;
  readonly #anchorKeyIds: ReadonlySet<KeyId>;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Since which roster each of the cluster's own keys has been listed, as far as this process knows. */
  readonly #listedSince = new Map<KeyId, number>();

  constructor(membership: Membership, file: AgentFiles['roster'], { clock, log }: { clock: Clock; log: Log }) {
    const { cluster, federationDomain, anchors } = membership;
    this.holder = new RosterHolder({ federationDomain, anchors, clock });
    this.#file = file;
    this.#cluster = cluster;
    this.#anchorKeyIds = new Set(anchors.map((anchor) => keyIdOf(readCertificate(anchor).spki)));
    this.#clock = clock;
    this.#log = log;
    // Ends with the holder, which lives as long as this.
    this.holder.trust.subscribe(() => this.#look());
  }

  /** Takes up the roster on disk. */
  async restore(): Promise<void> {
    const stored = await this.#file.read();
    if (!stored) return;
    const offer = this.holder.offer(stored.sealed, stored.chain);
    if (offer.result !== 'accepted') this.#log.error({ offer }, 'the roster on disk does not verify');
  }

  /** Never throws. */
  accept(sealed: Uint8Array, chain: Uint8Array): RosterOffer {
    const offer = this.holder.offer(sealed, chain);
    if (offer.result === 'accepted') {
      this.#log.info({ sequence: this.holder.roster?.sequence }, 'new roster');
      this.#file
        .write({ version: 1, sealed: toBase64(sealed), chain: toBase64(chain) })
        .catch((thrown: unknown) => this.#log.error({ why: messageOf(thrown) }, 'cannot keep the roster on disk'));
    } else if ('detail' in offer) {
      this.#log.warn({ result: offer.result, why: offer.detail }, 'a roster was not taken');
    }
    return offer;
  }

  /** As `accept`, for one that the authority pushed on a stream that is open for so long. */
  acceptPushed(sealed: Uint8Array, chain: Uint8Array, openForMs: number): void {
    if (this.accept(sealed, chain).result !== 'accepted') return;
    this.authorityClock.note(this.holder.roster?.issuedAt ?? 0, this.#clock.now(), openForMs > settledMs);
  }

  /** The roster that first listed this key as the cluster's own; undefined: none does. */
  listedSince(keyId: KeyId): number | undefined {
    return this.#listedSince.get(keyId);
  }

  /** Whether a key signs, or signed, certificates anywhere in the federation. */
  isCaKey(keyId: KeyId): boolean {
    if (this.#anchorKeyIds.has(keyId)) return true;
    const { roster } = this.holder;
    for (const entry of roster?.clusters.values() ?? []) if (entry.caKeyIds.includes(keyId)) return true;
    return roster?.deniedKeyIds.includes(keyId) ?? false;
  }

  /** Resolves when no write is under way. */
  settled(): Promise<void> {
    return this.#file.settled();
  }

  #look(): void {
    const { roster } = this.holder;
    if (!roster) return;
    const keyIds = roster.clusters.get(this.#cluster)?.caKeyIds ?? [];
    for (const keyId of this.#listedSince.keys()) if (!keyIds.includes(keyId)) this.#listedSince.delete(keyId);
    for (const keyId of keyIds) if (!this.#listedSince.has(keyId)) this.#listedSince.set(keyId, roster.sequence);
  }
}
