import type { BalanceAlgorithm } from '../../../model/traffic.ts';
import { ConsistentHash } from './consistent-hash.ts';
import { leastRequest } from './least-request.ts';
import { randomChoice } from './random-choice.ts';
import { RoundRobin } from './round-robin.ts';
import type { Strategy } from './strategy.ts';

/** A strategy for one list of items; some remember where they were. */
export function strategyOf(algorithm: BalanceAlgorithm): Strategy {
  switch (algorithm) {
    case 'leastRequest':
      return leastRequest;
    case 'roundRobin':
      return new RoundRobin();
    case 'random':
      return randomChoice;
    case 'consistentHash':
      return new ConsistentHash();
  }
}
