import { type Cidr, parseCidr } from './cidr.ts';
import { isReservedPath, parseSpiffeId, type SpiffeId } from './identity.ts';

/** A workload of whatever trust domain is one's own: `/ns/<namespace>/sa/<serviceAccount>`. */
export interface WorkloadName {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** Addresses and the workload that uses them, as an operator writes it down. */
export interface SourceIdentityRule {
  /** `10.1.0.0/24`, `fd00::/64` or one address. */
  readonly address: string;
  /** `<namespace>/<service account>`, or a SPIFFE ID. */
  readonly identity: string;
}

/** Reads the addresses of a rule. Undefined: not an address, or bits are set after the prefix. */
export function addressesOf({ address }: Pick<SourceIdentityRule, 'address'>): Cidr | undefined {
  return parseCidr(address);
}

/** Kubernetes names: an RFC 1123 label, and an RFC 1123 subdomain. */
const account = /^([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)\/([a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)$/;

/** Reads the workload of a rule. Undefined: neither form, or one of our own roles, which nobody may be. */
export function workloadOf({ identity }: Pick<SourceIdentityRule, 'identity'>): SpiffeId | WorkloadName | undefined {
  const match = account.exec(identity);
  if (match) return { namespace: match[1] ?? '', serviceAccount: match[2] ?? '' };
  try {
    const id = parseSpiffeId(identity);
    return isReservedPath(id) ? undefined : id;
  } catch {
    // Which rule it breaks does not matter here: it is no identity.
    return undefined;
  }
}
