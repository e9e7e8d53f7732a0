import { z } from 'zod';

/** Hex of a key identifier. */
export const keyId: z.ZodType<string> = z.string().regex(/^[0-9a-f]{2,128}$/);

const whole: z.ZodType<number> = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** Leaf, intermediate, cross certificate, and some to spare. */
const maxChain = 6;

/** Members of an `Acknowledgement`, for every message that carries one. */
export const acknowledgementShape: {
  readonly rosterSequence: typeof whole;
  readonly bundleSequence: typeof whole;
  readonly chain: z.ZodType<readonly { keyId: string; notAfter: number }[]>;
  readonly at: typeof whole;
} = {
  rosterSequence: whole,
  bundleSequence: whole,
  chain: z
    .array(z.object({ keyId, notAfter: whole }))
    .min(1)
    .max(maxChain),
  at: whole,
};
