import { type IpBytes, parseIp, prefixOf } from '../../model/cidr.ts';
import { parseSpiffeId, type SpiffeId, type TrustDomain, trustDomainOf } from '../../model/identity.ts';
import type { SourceIdentity } from '../../model/ports/source-identity.ts';
import { addressesOf, type SourceIdentityRule, type WorkloadName, workloadOf } from '../../model/source-identity.ts';

interface Prefixes {
  readonly bits: number;
  readonly byPrefix: Map<string, SpiffeId | WorkloadName>;
}

/** Identities by source address from a fixed list: the longest prefix wins. */
export class StaticIdentities implements SourceIdentity {
  /** Longest first. */
  readonly #prefixes: readonly Prefixes[];
  readonly #domain: () => TrustDomain | undefined;

  /**
   * `domain`: the own one; undefined while there is no identity. What is of another one is never given, since nobody
   * accepts it from here.
   */
  constructor(rules: readonly SourceIdentityRule[], domain: () => TrustDomain | undefined) {
    this.#domain = domain;
    const byBits = new Map<number, Prefixes>();
    for (const rule of rules) {
      const [addresses, workload] = [addressesOf(rule), workloadOf(rule)];
      if (!addresses || workload === undefined) continue;
      const { bits, bytes } = addresses;
      const prefixes = byBits.get(bits) ?? { bits, byPrefix: new Map() };
      prefixes.byPrefix.set(keyOf(bytes), workload);
      byBits.set(bits, prefixes);
    }
    this.#prefixes = [...byBits.values()].sort((a, b) => b.bits - a.bits);
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

function identityIn(domain: TrustDomain, found: SpiffeId | WorkloadName): SpiffeId | undefined {
  if (typeof found === 'string') return trustDomainOf(found) === domain ? found : undefined;
  return parseSpiffeId(`spiffe://${domain}/ns/${found.namespace}/sa/${found.serviceAccount}`);
}

/** The width is part of it: 1.2.3.4 is no prefix of an IPv6 address. */
function keyOf(bytes: IpBytes): string {
  return `${bytes.length}:${bytes.join('.')}`;
}
