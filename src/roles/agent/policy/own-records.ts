import { IsthmusError } from '../../../model/error.ts';
import { type DrainRecord, type PolicyRecord, type RecordKey, recordKeyOf } from '../../../model/record.ts';
import { type Policy, policyKey, recordOf } from '../../../policy/policy.ts';

/** What this cluster publishes of policies and drains. */
export type OwnRecord = PolicyRecord | DrainRecord;
export type OwnRecords = ReadonlyMap<RecordKey, OwnRecord>;

/** One thing that became of a policy. */
export interface OwnChange {
  readonly policy: string;
  readonly action: 'created' | 'changed' | 'unchanged' | 'deleted';
  readonly before: PolicyRecord | undefined;
  readonly after: PolicyRecord | undefined;
  readonly notes: readonly string[];
}

/** A whole set of own records after a change. */
export interface Changed {
  readonly records: OwnRecords;
  readonly changes: readonly OwnChange[];
}

/**
 * The records after `policies` were applied. All of them or none: a set with one that cannot be is refused. `now`: wall
 * clock in ms.
 * @throws IsthmusError `conflict` for one that comes from a file, `invalid` for two of one name
 */
export function withApplied(records: OwnRecords, policies: readonly Policy[], now: number): Changed {
  const next = new Map(records);
  const seen = new Set<RecordKey>();
  const changes = policies.map((policy): OwnChange => {
    const key = keyOf(policy);
    if (seen.has(key)) throw new IsthmusError('invalid', `${policyKey(policy.name)} is there twice: give it once`);
    seen.add(key);
    const before = policyAt(records, key);
    if (before?.file !== undefined) throw fromFile(policy, before.file);
    return put(next, policy, { before, now });
  });
  return { records: next, changes };
}

/** @throws IsthmusError `not-found`, or `conflict` for one that comes from a file */
export function withRemoved(records: OwnRecords, key: RecordKey): Changed {
  const before = policyAt(records, key);
  const policy = key.slice('policy/'.length);
  if (!before) {
    throw new IsthmusError('not-found', `This cluster does not publish ${policy}`, {
      hint: `'isthmus policy list' shows who publishes what; a policy is deleted where it was applied`,
    });
  }
  if (before.file !== undefined) {
    throw new IsthmusError('conflict', `${policy} comes from the file ${before.file}`, { hint: 'Delete it there' });
  }
  const next = new Map(records);
  next.delete(key);
  return { records: next, changes: [{ policy, action: 'deleted', before, after: undefined, notes: [] }] };
}

/** One policy file as it was last read. */
export interface PolicyFile {
  /** Without its folder. */
  readonly file: string;
  /** Undefined: it cannot be read or is not right; what it said before stays. */
  readonly policies: readonly Policy[] | undefined;
}

/** The records after files were read. What a file no longer says, or a file that is gone, goes. */
export function withFiles(records: OwnRecords, files: readonly PolicyFile[], now: number): Changed {
  const next = new Map(records);
  const changes: OwnChange[] = [];
  const broken = new Set(files.filter(({ policies }) => !policies).map(({ file }) => file));
  const said = new Set<RecordKey>();
  for (const { file, policies } of files) {
    for (const policy of policies ?? []) {
      const key = keyOf(policy);
      said.add(key);
      changes.push(put(next, policy, { before: policyAt(records, key), now, file }));
    }
  }
  for (const [key, record] of records) {
    if (record.kind !== 'policy' || record.file === undefined || said.has(key) || broken.has(record.file)) continue;
    next.delete(key);
    changes.push({
      policy: key.slice('policy/'.length),
      action: 'deleted',
      before: record,
      after: undefined,
      notes: [],
    });
  }
  return { records: next, changes: changes.filter(({ action }) => action !== 'unchanged') };
}

interface PutContext {
  readonly before: PolicyRecord | undefined;
  readonly now: number;
  readonly file?: string;
}

function put(next: Map<RecordKey, OwnRecord>, policy: Policy, { before, now, file }: PutContext): OwnChange {
  const about = { policy: policyKey(policy.name), before, notes: policy.notes };
  if (before && before.file === file && JSON.stringify(before.spec) === JSON.stringify(policy.spec)) {
    return { ...about, action: 'unchanged', after: before };
  }
  const revision = Math.max(now, (before?.issuedAt ?? 0) + 1);
  const made = recordOf(policy, revision, before?.createdAt ?? revision);
  const after = file === undefined ? made : { ...made, file };
  next.set(recordKeyOf(after), after);
  return { ...about, action: before ? 'changed' : 'created', after };
}

function policyAt(records: OwnRecords, key: RecordKey): PolicyRecord | undefined {
  const record = records.get(key);
  return record?.kind === 'policy' ? record : undefined;
}

function keyOf({ name }: Policy): RecordKey {
  return `policy/${policyKey(name)}`;
}

function fromFile({ name }: Policy, file: string): IsthmusError {
  return new IsthmusError('conflict', `${policyKey(name)} comes from the file ${file} of this cluster`, {
    hint: 'Change it there: the agent reads it again by itself',
  });
}
