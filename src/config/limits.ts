import { z } from 'zod';
import { type GatewayLimits, isDuration, limitKey, limitNames, limitSpecs } from '../model/gateway-limits.ts';
import { duration } from './scalars.ts';
import { count, section } from '../wire/schema.ts';

/** `limits` of a gateway's file: what is absent has the gateway's default. */
export const gatewayLimits: z.ZodType<Partial<GatewayLimits>> = section(
  Object.fromEntries(
    limitNames.map((name) => {
      const { min, max } = limitSpecs[name];
      return [limitKey(name), z.exactOptional(isDuration(name) ? duration(min, max) : count(min, max))];
    }),
  ),
).transform((given: Readonly<Record<string, number | undefined>>): Partial<GatewayLimits> => {
  const set = limitNames.flatMap((name) => {
    const value = given[limitKey(name)];
    return value === undefined ? [] : [[name, value] as const];
  });
  return Object.fromEntries(set);
});
