import { z } from 'zod';
import { addressesOf, type SourceIdentityRule, workloadOf } from '../model/source-identity.ts';
import { scalar, section } from '../wire/schema.ts';

const maxIdentities = 10_000;

const address = scalar(
  `an IP address or a range such as '10.1.0.0/24' or 'fd00::/64', without bits after the prefix`,
  (value) => (typeof value === 'string' && addressesOf({ address: value }) ? value : undefined),
);

const identity = scalar(
  `<namespace>/<service account>, such as 'shop/cart', or a SPIFFE ID of this cluster's trust domain outside /isthmus`,
  (value) => (typeof value === 'string' && workloadOf({ identity: value }) !== undefined ? value : undefined),
);

/** `identities` of a gateway's file: which workload uses which addresses. */
export const identityList: z.ZodType<readonly SourceIdentityRule[]> = z
  .array(section({ address, identity }))
  .max(maxIdentities)
  .superRefine((rules, context) => {
    const first = new Map<string, number>();
    for (const [index, rule] of rules.entries()) {
      const addresses = addressesOf(rule);
      const key = addresses ? `${addresses.bytes.join('.')}/${addresses.bits}` : rule.address;
      const before = first.get(key);
      if (before === undefined) first.set(key, index);
      else {
        const message = `must be there once: identities[${before}] has the same addresses already`;
        context.addIssue({ code: 'custom', path: [index, 'address'], message });
      }
    }
  });
