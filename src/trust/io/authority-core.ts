import { createHash, randomBytes } from 'node:crypto';
import { IsthmusError } from '../../model/error.ts';
import {
  authorityId,
  clusterTrustDomain,
  domainId,
  roleOf,
  type SpiffeId,
  type TrustDomain,
} from '../../model/identity.ts';
import { type ClusterName, parseClusterName, parseReplicaName, type ReplicaName } from '../../model/names.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { Sealer } from '../../model/ports/seal.ts';
import type { Watch } from '../../model/ports/watch.ts';
import type { KeyId, Roster, RosterEntry, TrustState } from '../../model/trust.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { encodeJoinToken } from '../../wire/join-token.ts';
import { decodeRoster, encodeRoster } from '../../wire/roster.ts';
import { trustStateOf } from '../verify/trust-state.ts';
import { caName, keyIdOf } from '../x509/certificate.ts';
import { parseCsr } from '../x509/csr.ts';
import { fingerprintOf } from '../x509/read.ts';
import type { AuthorityStore } from './authority-store.ts';
import { type Issuer, issue } from './issuer.ts';

/** Longest life of a join token in ms, and the default. */
const maxTokenTtlMs = 15 * 60_000;
/** Live intermediates of one replica: the present one, the next, and some that run out. */
const maxIntermediatesPerReplica = 8;

/** A roster as it leaves the authority. */
export interface SealedRoster {
  readonly sealed: Uint8Array;
  /** PEM chain of the signer. */
  readonly chain: Uint8Array;
}

export interface IssueTokenOptions {
  readonly cluster: ClusterName;
  /** Default and at most 15 minutes. */
  readonly ttlMs?: number;
  /** `host:port` under which newcomers reach the authority. */
  readonly addresses: readonly string[];
  /** Let a replica that lost its disk join again; its earlier intermediates are retired. */
  readonly rejoin?: boolean;
}

export interface IssuedToken {
  readonly token: string;
  /** Wall clock in ms. */
  readonly expiresAt: number;
}

export interface AuthorityCoreOptions {
  readonly store: AuthorityStore;
  readonly root: Issuer;
  readonly federationDomain: TrustDomain;
  readonly clock: Clock;
  readonly sealer: Watch<Sealer>;
  /** Whether intermediates carry name constraints. */
  readonly nameConstraints: boolean;
  readonly intermediateLifeMs?: number;
}

export interface JoinCommand {
  readonly cluster: string;
  readonly replica: string;
  readonly secret: Uint8Array;
  readonly csr: Uint8Array;
  /** How the caller is known: its address. */
  readonly from: string;
}

interface NewIntermediate {
  readonly cluster: ClusterName;
  readonly replica: ReplicaName;
  readonly spki: Uint8Array;
  readonly who: string;
}

/** The decisions of an authority, each one durable transaction with its entry in the journal. */
export class AuthorityCore {
  readonly #options: AuthorityCoreOptions;
  readonly #roster: Watchable<Roster>;
  readonly #sealed: Watchable<SealedRoster>;
  readonly #trust: Watchable<TrustState | undefined>;
  readonly #endSealer: () => void;

  constructor(options: AuthorityCoreOptions) {
    this.#options = options;
    const { store, federationDomain, root, sealer } = options;
    const stored = store.roster();
    const before = stored && decodeRoster(stored.payload);
    if (!before || !sameMembers(before, this.#compose(before.sequence))) {
      store.transaction(() => this.#publish('start', before ? 'members changed' : `federation ${federationDomain}`));
    }
    const roster = this.#stored();
    this.#roster = new Watchable(roster);
    this.#trust = new Watchable<TrustState | undefined>(trustStateOf(roster, [root.certificate]));
    this.#sealed = new Watchable(this.#seal(roster));
    // A new seal leaf speaks for the same roster.
    this.#endSealer = sealer.subscribe(() => this.#sealed.set(this.#seal(this.#roster.current)));
  }

  get roster(): Watch<Roster> {
    return this.#roster;
  }

  get sealedRoster(): Watch<SealedRoster> {
    return this.#sealed;
  }

  get trust(): Watch<TrustState | undefined> {
    return this.#trust;
  }

  close(): void {
    this.#endSealer();
  }

  /** @throws IsthmusError `invalid`, `denied` */
  issueToken(request: IssueTokenOptions): IssuedToken {
    const { store, clock, federationDomain, root } = this.#options;
    const { cluster, ttlMs = maxTokenTtlMs, addresses, rejoin = false } = request;
    if (!(ttlMs > 0 && ttlMs <= maxTokenTtlMs)) {
      throw new IsthmusError('invalid', `A join token must live 1 to ${maxTokenTtlMs} ms: current value is ${ttlMs}`);
    }
    this.#requireActive(cluster);
    const secret = randomBytes(32);
    const now = clock.now();
    const expiresAt = now + ttlMs;
    store.transaction(() => {
      // A day is long enough to tell a late newcomer what became of its token.
      store.pruneTokens(now - 86_400_000);
      store.addToken(sha256(secret), { cluster, rejoin, expiresAt }, now);
      this.#audit('issue-token', cluster, `until ${new Date(expiresAt).toISOString()}${rejoin ? ', rejoin' : ''}`);
    });
    const rootSha256 = fingerprintOf(root.certificate);
    const token = encodeJoinToken({
      kind: 'cluster',
      cluster,
      federationDomain,
      addresses,
      rootSha256,
      secret,
      expiresAt,
    });
    return { token, expiresAt };
  }

  /**
   * Redeems a token for the first intermediate of a replica; DER.
   * @throws IsthmusError `unauthenticated` (unknown, used, expired token), `denied`, `conflict`, `invalid`
   */
  join(command: JoinCommand): Uint8Array {
    const { store, clock, federationDomain } = this.#options;
    const cluster = parseClusterName(command.cluster);
    const replica = parseReplicaName(command.replica);
    const spki = requestedKey(command.csr);
    const hash = sha256(command.secret);
    const now = clock.now();
    const token = store.token(hash);
    if (!token) throw new IsthmusError('unauthenticated', 'The join token is unknown');
    try {
      return this.#decide(() => {
        if (token.cluster !== cluster) {
          throw new IsthmusError('denied', `The join token is for cluster ${token.cluster}, not ${cluster}`);
        }
        if (!store.consumeToken(hash, now, `${replica} from ${command.from}`))
          throw unusableToken(token.expiresAt, now);
        if (store.cluster(cluster)) this.#requireActive(cluster);
        else store.addCluster(cluster, clusterTrustDomain(cluster, federationDomain), now);
        if (token.rejoin) store.retireReplica(cluster, replica);
        else if (this.#live(cluster, replica) > 0) {
          throw new IsthmusError('conflict', `Replica ${replica} of cluster ${cluster} has joined already`, {
            hint: 'Issue a token with rejoin if it lost its state, or choose another replica name.',
          });
        }
        const who = `token from ${command.from}`;
        store.audit({ at: now, who, what: 'join', subject: cluster, detail: `replica ${replica}` });
        return this.#issue({ cluster, replica, spki, who });
      });
    } catch (thrown) {
      const { message } = IsthmusError.from(thrown);
      store.transaction(() =>
        store.audit({ at: now, who: command.from, what: 'deny', subject: cluster, detail: message }),
      );
      throw thrown;
    }
  }

  /**
   * The next intermediate of the calling agent; DER. `id` was verified by its present one.
   * @throws IsthmusError `denied`, `exhausted`, `invalid`
   */
  renew(id: SpiffeId, cluster: ClusterName | undefined, csr: Uint8Array): Uint8Array {
    const caller = roleOf(id);
    if (caller?.role !== 'agent' || cluster === undefined) {
      throw new IsthmusError('denied', `Only an agent gets an intermediate: the caller is ${id}`);
    }
    const { replica } = caller;
    const spki = requestedKey(csr);
    this.#requireActive(cluster);
    if (this.#live(cluster, replica) >= maxIntermediatesPerReplica) {
      throw new IsthmusError('exhausted', `${id} has ${maxIntermediatesPerReplica} live intermediates already`);
    }
    return this.#decide(() => this.#issue({ cluster, replica, spki, who: id }));
  }

  /** Suspends, revokes or readmits a member. @throws IsthmusError `not-found`, `conflict` for a revoked one */
  setState(cluster: ClusterName, state: RosterEntry['state'], why: string): void {
    const { store } = this.#options;
    const known = store.cluster(cluster);
    if (!known) throw new IsthmusError('not-found', `There is no cluster ${cluster}`);
    if (known.state === state) return;
    if (known.state === 'revoked') {
      throw new IsthmusError('conflict', `Cluster ${cluster} is revoked; that is never undone`);
    }
    this.#decide(() => {
      if (state === 'revoked') {
        const now = this.#options.clock.now();
        for (const { keyId, ...entry } of store.liveIntermediates(now)) {
          if (entry.cluster === cluster) store.deny(keyId, `cluster ${cluster} was revoked`);
        }
      }
      store.setState(cluster, state);
      this.#audit('set-state', cluster, `${state}: ${why}`);
    });
  }

  /** One durable decision that ends in a new roster. */
  #decide<T>(decision: () => T): T {
    const { store } = this.#options;
    const result = store.transaction(() => {
      const made = decision();
      this.#publish('authority', 'members changed');
      return made;
    });
    const roster = this.#stored();
    this.#trust.set(trustStateOf(roster, [this.#options.root.certificate]));
    this.#roster.set(roster);
    this.#sealed.set(this.#seal(roster));
    return result;
  }

  #issue({ cluster, replica, spki, who }: NewIntermediate): Uint8Array {
    const { store, root, federationDomain, clock, nameConstraints, intermediateLifeMs } = this.#options;
    const keyId = keyIdOf(spki);
    if (store.hasKey(keyId) || keyId === root.signer.keyId) {
      throw new IsthmusError('denied', `Key ${keyId} was certified before; each intermediate needs a new one`);
    }
    const trustDomain = clusterTrustDomain(cluster, federationDomain);
    const issued = issue(root, {
      profile: 'intermediate',
      uri: domainId(trustDomain),
      subject: caName(federationDomain, cluster, keyId),
      spki,
      now: clock.now(),
      ...(nameConstraints && { permitted: trustDomain }),
      ...(intermediateLifeMs !== undefined && { lifeMs: intermediateLifeMs }),
    });
    const { certificate, serial, notAfter } = issued;
    store.addIntermediate({ keyId, cluster, replica, serial, notAfter, certificate });
    const detail = `key ${keyId}, serial ${serial}, until ${new Date(notAfter).toISOString()}`;
    store.audit({ at: clock.now(), who, what: 'issue-intermediate', subject: `${cluster}/${replica}`, detail });
    return certificate;
  }

  #publish(who: string, why: string): void {
    const { store, clock } = this.#options;
    const sequence = (store.roster()?.sequence ?? 0) + 1;
    store.setRoster(sequence, encodeRoster(this.#compose(sequence)));
    store.audit({ at: clock.now(), who, what: 'publish-roster', subject: `sequence ${sequence}`, detail: why });
  }

  #compose(sequence: number): Roster {
    const { store, clock, federationDomain } = this.#options;
    const now = clock.now();
    const keys = new Map<ClusterName, KeyId[]>();
    for (const { cluster, keyId } of store.liveIntermediates(now)) {
      keys.set(cluster, [...(keys.get(cluster) ?? []), keyId]);
    }
    const clusters = store.clusters().map((stored) => ({ ...stored, caKeyIds: keys.get(stored.cluster) ?? [] }));
    return {
      federationDomain,
      sequence,
      issuedAt: now,
      clusters: new Map(clusters.map((entry) => [entry.cluster, entry])),
      deniedKeyIds: store.deniedKeyIds(),
    };
  }

  #stored(): Roster {
    const stored = this.#options.store.roster();
    if (!stored) throw new IsthmusError('internal', 'There is no roster after it was written');
    return decodeRoster(stored.payload);
  }

  #seal(roster: Roster): SealedRoster {
    const sealer = this.#options.sealer.current;
    return { sealed: sealer.seal('roster', encodeRoster(roster)), chain: sealer.chain };
  }

  #live(cluster: ClusterName, replica: ReplicaName): number {
    const { store, clock } = this.#options;
    const live = store.liveIntermediates(clock.now());
    return live.filter((entry) => entry.cluster === cluster && entry.replica === replica).length;
  }

  #requireActive(cluster: ClusterName): void {
    const state = this.#options.store.cluster(cluster)?.state ?? 'active';
    if (state !== 'active') throw new IsthmusError('denied', `Cluster ${cluster} is ${state}`);
  }

  #audit(what: 'issue-token' | 'set-state', subject: string, detail: string): void {
    const { store, clock, federationDomain } = this.#options;
    store.audit({ at: clock.now(), who: authorityId(federationDomain), what, subject, detail });
  }
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

function unusableToken(expiresAt: number, now: number): IsthmusError {
  const why = expiresAt <= now ? `expired at ${new Date(expiresAt).toISOString()}` : 'was used already';
  return new IsthmusError('unauthenticated', `The join token ${why}`, { hint: 'Issue a new token.' });
}

/** The key of a request that passed the gate; intermediates have P-256 keys only. */
function requestedKey(csr: Uint8Array): Uint8Array {
  const { spki, keyType } = parseCsr(csr);
  if (keyType !== 'p256')
    throw new IsthmusError('invalid', `The key of an intermediate must be P-256: it is ${keyType}`);
  return spki;
}

/** Whether two rosters differ in nothing but sequence and time. */
function sameMembers(a: Roster, b: Roster): boolean {
  const content = (roster: Roster): Uint8Array => encodeRoster({ ...roster, sequence: 0, issuedAt: 0 });
  return Buffer.from(content(a)).equals(content(b));
}
