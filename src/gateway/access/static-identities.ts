import { isReservedPath, parseSpiffeId, type SpiffeId, type TrustDomain, trustDomainOf } from '../../model/identity.ts';
import type { SourceIdentity } from '../../model/ports/source-identity.ts';
import { type Cidr, type IpBytes, parseIp, prefixOf } from '../../runtime/cidr.ts';

/** Addresses and the workload that uses them, as an operator wrote it down. */
export interface IdentityRule {
  readonly addresses: Cidr;
  readonly identity: SpiffeId | WorkloadName;
}

/** A workload of the own trust domain: `/ns/<namespace>/sa/<serviceAccount>`. */
export interface WorkloadName {
  readonly namespace: string;
  readonly serviceAccount: string;
}

interface Prefixes {
  readonly bits: number;
  readonly byPrefix: ReadonlyMap<string, IdentityRule['identity']>;
}

/** Identities by source address from a fixed list: the longest prefix wins. */
export class StaticIdentities implements SourceIdentity {
  /** Longest first. */
  readonly #prefixes: readonly Prefixes[];
  readonly #domain: () => TrustDomain | undefined;

  /** `domain`: the own one; undefined while there is no identity. What is of another is never given: nobody accepts it. */
  constructor(rules: readonly IdentityRule[], domain: () => TrustDomain | undefined) {
    this.#domain = domain;
    const lengths = [...new Set(rules.map(({ addresses }) => addresses.bits))].sort((a, b) => b - a);
    this.#prefixes = lengths.map((bits) => ({
      bits,
      byPrefix: new Map(
        rules
          .filter(({ addresses }) => addresses.bits === bits)
          .map(({ addresses, identity }) => [keyOf(addresses.bytes), identity]),
      ),
    }));
  }

  of(address: string): SpiffeId | undefined {
    const domain = this.#domain();
    const bytes = domain && parseIp(address.split('%', 1)[0] ?? '');
    if (!bytes) return undefined;
    for (const { bits, byPrefix } of this.#prefixes) {
      const found = bits <= bytes.length * 8 ? byPrefix.get(keyOf(prefixOf(bytes, bits))) : undefined;
      if (found !== undefined) return identityIn(domain, found);
    }
    return undefined;
  }
}

function identityIn(domain: TrustDomain, found: IdentityRule['identity']): SpiffeId | undefined {
  const id =
    typeof found === 'string'
      ? found
      : parseSpiffeId(`spiffe://${domain}/ns/${found.namespace}/sa/${found.serviceAccount}`);
  return trustDomainOf(id) === domain && !isReservedPath(id) ? id : undefined;
}

/** The width is part of it: 1.2.3.4 is no prefix of an IPv6 address. */
function keyOf(bytes: IpBytes): string {
  return `${bytes.length}:${bytes.join('.')}`;
}
