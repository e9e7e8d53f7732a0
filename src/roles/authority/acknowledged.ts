import type { ClusterName } from '../../model/names.ts';
import type { TrustReplicaRow } from '../../model/trust-report.ts';
import type { HeardAck } from '../../trust/authority/acknowledgements.ts';
import { ackRow } from '../ack-row.ts';

/** What `isthmus authority acknowledgements` shows. `now`: wall clock in ms. */
export function acknowledgedRows(
  heard: ReadonlyMap<ClusterName, readonly HeardAck[]>,
  now: number,
): readonly TrustReplicaRow[] {
  return [...heard]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([cluster, acks]) =>
      acks.map(({ ack, by }) => {
        const { role, replica } = ack;
        const message = role === 'agent' && replica === by ? undefined : `by the word of ${by}`;
        return ackRow(ack, { cluster, role, replica, problem: message, now });
      }),
    );
}
