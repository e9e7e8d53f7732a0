import { join } from 'node:path';
import { type Log } from '../../../model/ports/log.ts';
import { recordKeyOf } from '../../../model/record.ts';
import { readFileIfPresent, writeFileDurably } from '../../../runtime/io/files.ts';
import { decodeRecord, encodeRecord } from '../../../wire/record.ts';
import type { OwnRecord, OwnRecords } from './own-records.ts';

/** Keeps what this cluster publishes of policies and drains, over restarts and a hub that is away. */
export interface PolicyStore {
  /** Undefined: nothing was ever saved. */
  load(): Promise<OwnRecords | undefined>;
  save(records: OwnRecords): Promise<void>;
}

const fileName = 'policies.jsonl';

/** In the state directory, one record a line as it lies in the hub. A line that does not decode is left out, loudly. */
export function filePolicyStore(stateDir: string, log: Log): PolicyStore {
  const path = join(stateDir, fileName);
  return {
    async load(): Promise<OwnRecords | undefined> {
      const bytes = await readFileIfPresent(path);
      if (!bytes) return undefined;
      const records = new Map<string, OwnRecord>();
      for (const line of bytes.toString('utf8').split('\n').filter(Boolean)) {
        const tab = line.indexOf('\t');
        const decoded = decodeRecord(line.slice(0, tab), Buffer.from(line.slice(tab + 1)));
        if (decoded.ok && (decoded.record.kind === 'policy' || decoded.record.kind === 'drain')) {
          records.set(recordKeyOf(decoded.record), decoded.record);
        } else log.error({ path, detail: decoded.ok ? 'no policy' : decoded.detail }, 'a stored policy cannot be read');
      }
      return records;
    },
    async save(records): Promise<void> {
      const lines = [...records].map(
        ([key, record]) => `${key}\t${Buffer.from(encodeRecord(record)).toString('utf8')}\n`,
      );
      await writeFileDurably(path, lines.join(''));
    },
  };
}

/** For replicas that share their cluster's partition: what lies there is the truth, whoever leads next. */
export const sharedPolicyStore: PolicyStore = { load: async () => undefined, save: async () => undefined };
