import { z } from 'zod';
import { grpcRetryConditions, type HashKey, isRetryCondition, type RetryCondition } from '../model/traffic.ts';
import { scalar } from './schema.ts';

/** Values of `loadBalancing` and `http`, alike in policies and configurations (policy.md). */

/** RFC 9110 §5.6.2; the length is ours. */
const token = /^[-!#$%&'*+.^_`|~0-9A-Za-z]{1,128}$/;

/** What `consistentHash` goes by. */
export const hashKey: z.ZodType<HashKey> = scalar(
  `'sourceIP', or one of header and cookie with its name, such as { header: x-user }`,
  (value): HashKey | undefined => {
    if (value === 'sourceIP') return { by: 'sourceIP' };
    if (typeof value !== 'object' || value === null) return undefined;
    const [[by, name] = [], ...more] = Object.entries(value);
    if (more.length > 0 || typeof name !== 'string' || !token.test(name)) return undefined;
    if (by === 'header') return { by, name: name.toLowerCase() };
    return by === 'cookie' ? { by, name } : undefined;
  },
);

const retryCondition: z.ZodType<RetryCondition> = scalar(
  `'connect', 'reset', a status from 500 to 599, or for gRPC ${grpcRetryConditions.map((each) => `'${each}'`).join(', ')}`,
  (value): RetryCondition | undefined => {
    const word = typeof value === 'string' && /^\d{3}$/.test(value) ? Number(value) : value;
    return (typeof word === 'string' || typeof word === 'number') && isRetryCondition(word) ? word : undefined;
  },
);

/** On what requests are tried again; each once. */
export const retryConditions: z.ZodType<readonly RetryCondition[]> = z
  .array(retryCondition)
  .min(1)
  .max(32)
  .transform((given) => [...new Set(given)]);
