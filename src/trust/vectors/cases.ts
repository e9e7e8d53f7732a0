import { idCases } from './id-cases.ts';
import { issuerCases } from './issuer-cases.ts';
import { leafCases } from './leaf-cases.ts';
import { pathCases } from './path-cases.ts';
import type { VectorCase } from './vector-case.ts';

/** All vectors. */
export const vectorCases: readonly VectorCase[] = [...leafCases, ...idCases, ...issuerCases, ...pathCases];
