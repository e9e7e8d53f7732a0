import { messageOf } from '../../model/error.ts';
import type { Attestation } from '../../model/ports/attestor.ts';
import type { Clock } from '../../model/ports/clock.ts';
import type { SvidSource } from '../../model/ports/identity.ts';
import type { Log } from '../../model/ports/log.ts';
import type { Svid } from '../../model/trust.ts';
import { Backoff } from '../../runtime/backoff.ts';
import { sleep } from '../../runtime/sleep.ts';
import { Watchable } from '../../runtime/watchable.ts';
import { pauseUntil, renewAt } from '../renewal.ts';
import type { ClusterIssuance } from './cluster-issuance.ts';

export interface WorkloadIdentityOptions {
  /** Whose identity it is, and how that is known. */
  readonly attestation: Attestation;
  readonly issuance: ClusterIssuance;
  readonly clock: Clock;
  readonly log: Log;
}

/** The SVID of one socket, shared by all that come to it, with a new key each time it is renewed. */
export interface WorkloadIdentity {
  /** Undefined: none yet, or expired. */
  readonly svid: SvidSource;
  close(): Promise<void>;
}

/** Gets an SVID and keeps it fresh. Resolves after the first attempt, whatever became of it. */
export async function openWorkloadIdentity(options: WorkloadIdentityOptions): Promise<WorkloadIdentity> {
  const { attestation, issuance, clock, log } = options;
  const svid = new Watchable<Svid | undefined>(undefined);
  const stop = new AbortController();
  const backoff = new Backoff({ initialMs: 200, maxMs: 15_000 }, () => clock.random());
  let next = 0;
  const turn = async (): Promise<void> => {
    const { current } = svid;
    try {
      if (clock.now() >= next) {
        const issued = await issuance.issueWithKey(attestation);
        next = renewAt(issued, clock.random());
        backoff.reset();
        svid.set(issued);
      }
    } catch (thrown) {
      log.warn({ id: attestation.id, why: messageOf(thrown) }, 'cannot issue for a workload');
      next = clock.now() + backoff.next();
    }
    if (current && clock.now() > current.notAfter && svid.current === current) svid.set(undefined);
  };
  await turn();
  const run = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const end = svid.current?.notAfter;
      const due = [next, ...(end === undefined ? [] : [end + 1])];
      await sleep(clock, pauseUntil(clock.now(), due), stop.signal);
      if (!stop.signal.aborted) await turn();
    }
  };
  const running = run();
  return {
    svid,
    async close(): Promise<void> {
      stop.abort();
      await running;
    },
  };
}
