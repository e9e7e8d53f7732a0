import type { TrustDomain } from '../../model/identity.ts';
import type { ClusterName, ReplicaName } from '../../model/names.ts';
import type { KeyId, Roster, RosterEntry } from '../../model/trust.ts';
import type {
  Change,
  DeniedKey,
  IntermediateEntry,
  JoinTokenEntry,
  Member,
  PendingEntry,
  StoredState,
} from './change.ts';

/** How long a member that left is still listed, so that traffic can move away: 60 s. */
export const leaveGraceMs = 60_000;

/** The roster in `payload` has no room for more: readers refuse larger ones (wire/roster.ts). */
const maxRosterBytes = 4_000_000;
const maxMembers = 5000;
/** What a member's keys take, beyond what it is admitted for. */
const keysBytes = 1200;

/** An authority's state in memory, for decisions. It changes by `apply` alone, with what goes to disk. */
export class AuthorityBook {
  readonly #tokens = new Map<string, JoinTokenEntry>();
  readonly #members = new Map<ClusterName, Member>();
  /** By cluster and key; retired ones are not kept. */
  readonly #intermediates = new Map<ClusterName, Map<KeyId, IntermediateEntry>>();
  readonly #usedKeyIds: Set<KeyId>;
  readonly #denied = new Map<KeyId, DeniedKey>();
  readonly #pending = new Map<KeyId, PendingEntry>();
  #roster: StoredState['roster'];
  readonly #rosterFloor: number;

  constructor(stored: StoredState) {
    for (const token of stored.tokens) this.#tokens.set(token.hash, token);
    for (const member of stored.members) this.#members.set(member.cluster, member);
    for (const intermediate of stored.intermediates) this.#keep(intermediate);
    for (const pending of stored.pending) this.#pending.set(pending.keyId, pending);
    this.#usedKeyIds = new Set(stored.usedKeyIds);
    for (const denied of stored.denied) this.#denied.set(denied.keyId, denied);
    this.#roster = stored.roster;
    this.#rosterFloor = stored.rosterFloor;
  }

  apply(change: Change): void {
    switch (change.type) {
      case 'token':
        this.#tokens.set(change.token.hash, change.token);
        return;
      case 'forget-tokens':
        for (const hash of change.hashes) this.#tokens.delete(hash);
        return;
      case 'member':
        this.#members.set(change.member.cluster, change.member);
        return;
      case 'intermediate':
        this.#keep(change.intermediate);
        this.#usedKeyIds.add(change.intermediate.keyId);
        return;
      case 'retire':
        for (const keyId of change.keyIds) {
          for (const held of this.#intermediates.values()) held.delete(keyId);
        }
        return;
      case 'deny':
        this.#denied.set(change.denied.keyId, change.denied);
        return;
      case 'pending':
        this.#pending.set(change.pending.keyId, change.pending);
        return;
      case 'settled':
        this.#pending.delete(change.keyId);
        return;
      case 'roster':
        this.#roster = change;
        return;
    }
  }

  #keep(intermediate: IntermediateEntry): void {
    const { cluster, keyId } = intermediate;
    const held = this.#intermediates.get(cluster) ?? new Map<KeyId, IntermediateEntry>();
    held.set(keyId, intermediate);
    this.#intermediates.set(cluster, held);
  }

  token(hash: string): JoinTokenEntry | undefined {
    return this.#tokens.get(hash);
  }

  tokens(): Iterable<JoinTokenEntry> {
    return this.#tokens.values();
  }

  member(cluster: ClusterName): Member | undefined {
    return this.#members.get(cluster);
  }

  members(): Iterable<Member> {
    return this.#members.values();
  }

  /** Intermediates of a cluster, or of one replica of it, that may still sign at `now` (wall clock in ms). */
  live(cluster: ClusterName, now: number, replica?: ReplicaName): readonly IntermediateEntry[] {
    const held = this.#intermediates.get(cluster);
    if (!held) return [];
    return [...held.values()].filter(
      (entry) => entry.notAfter > now && (replica === undefined || entry.replica === replica),
    );
  }

  intermediate(cluster: ClusterName, keyId: KeyId): IntermediateEntry | undefined {
    return this.#intermediates.get(cluster)?.get(keyId);
  }

  /** Whether this key was certified before, for whomever. */
  knowsKey(keyId: KeyId): boolean {
    return this.#usedKeyIds.has(keyId);
  }

  isDenied(keyId: KeyId): boolean {
    return this.#denied.has(keyId);
  }

  pending(keyId: KeyId): PendingEntry | undefined {
    return this.#pending.get(keyId);
  }

  allPending(): readonly PendingEntry[] {
    return [...this.#pending.values()];
  }

  get roster(): StoredState['roster'] {
    return this.#roster;
  }

  /** The sequence that the next roster gets. */
  get nextSequence(): number {
    return Math.max((this.#roster?.sequence ?? 0) + 1, this.#rosterFloor);
  }

  /** Wall clock in ms at which time alone changes the roster next, after `now`; `Infinity`: never. */
  changesAt(now: number): number {
    let next = Number.POSITIVE_INFINITY;
    const note = (at: number): void => {
      if (at > now && at < next) next = at;
    };
    for (const held of this.#intermediates.values()) for (const { notAfter } of held.values()) note(notAfter);
    for (const { until } of this.#denied.values()) note(until);
    for (const { state, leftAt = 0 } of this.#members.values()) if (state === 'left') note(leftAt + leaveGraceMs);
    return next;
  }

  /** Why there is no room for this member in the roster; undefined: there is. */
  roomProblem(member: Member): string | undefined {
    if (this.#members.has(member.cluster)) return undefined;
    if (this.#members.size >= maxMembers) return `there are ${maxMembers} members already`;
    const size = (this.#roster?.payload.length ?? 0) + JSON.stringify(member).length + keysBytes;
    return size > maxRosterBytes ? `the roster would have ${size} bytes` : undefined;
  }

  /** The roster that follows from all of this at `now` (wall clock in ms). */
  compose(federationDomain: TrustDomain, sequence: number, now: number): Roster {
    const clusters = new Map<ClusterName, RosterEntry>();
    const denied = [...this.#denied.values()].filter(({ until }) => until > now);
    const members = [...this.#members.values()].sort((a, b) => (a.cluster < b.cluster ? -1 : 1));
    for (const member of members) {
      const entry = entryOf(member, now);
      if (!entry) continue;
      const caKeyIds = this.live(member.cluster, now).map(({ keyId }) => keyId);
      clusters.set(member.cluster, { ...entry, caKeyIds: caKeyIds.sort() });
    }
    return {
      federationDomain,
      sequence,
      issuedAt: now,
      clusters,
      deniedKeyIds: denied.map(({ keyId }) => keyId).sort(),
    };
  }
}

function entryOf(member: Member, now: number): Omit<RosterEntry, 'caKeyIds'> | undefined {
  const { cluster, trustDomain, state, leftAt = 0, labels, exportable, mayPublishPolicy, mayOperate, limits } = member;
  if (state === 'left' && now >= leftAt + leaveGraceMs) return undefined;
  return {
    cluster,
    trustDomain,
    state: state === 'left' ? 'active' : state,
    labels,
    exportable: [...exportable].sort(),
    ...(mayPublishPolicy && { mayPublishPolicy }),
    ...(mayOperate && { mayOperate }),
    ...(Object.keys(limits).length > 0 && { limits }),
    ...(state === 'left' && { leaving: true }),
  };
}
