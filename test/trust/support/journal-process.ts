import { messageOf } from '../../../src/model/error.ts';
import { ClusterJournal } from '../../../src/trust/io/cluster-journal.ts';
import { silent } from './environment.ts';

/** Appends groups of entries until the disk takes no more, then says how many were acknowledged and why not the rest. */
const [directory = ''] = process.argv.slice(2);
const journal = await ClusterJournal.open({
  directory,
  log: silent,
  onRecord: () => undefined,
  carryOver: () => [],
});
let acknowledged = 0;
let why = '';
for (let group = 0; why === ''; group += 1) {
  const entries = Array.from({ length: 7 }, (_, index) =>
    journal.append({ at: 1, who: 'test', what: 'deny', subject: `${group}.${index}`, detail: 'because' }),
  );
  for (const result of await Promise.allSettled(entries)) {
    if (result.status === 'fulfilled') acknowledged += 1;
    else why = messageOf(result.reason);
  }
}
process.stdout.write(JSON.stringify({ acknowledged, why, head: journal.head.sequence }));
