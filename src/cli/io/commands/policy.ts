import { readFile } from 'node:fs/promises';
import { parseAllDocuments } from 'yaml';
import { IsthmusError, messageOf } from '../../../model/error.ts';
import {
  type EffectiveReport,
  type PolicyChanges,
  type PolicyDetail,
  policyPaths,
  type PolicyRow,
} from '../../../model/policy-report.ts';
import { exit } from '../../exit.ts';
import type { OutputFormat } from '../../output-format.ts';
import { render, type View, wantsColour } from '../../view.ts';
import { changesView, effectiveView, policiesView, policyView, undoOf } from '../../views/policy.ts';
import type { AdminConnection, World } from '../../world.ts';
import { connectServer, type ServerFlags } from '../connect.ts';
import { readAll } from '../stdin.ts';

/** Flags of every verb about policies and operations. */
export interface AnswerFlags extends ServerFlags {
  readonly output: OutputFormat;
  readonly headers: boolean;
}

/** Asks the agent, and writes what it answers. */
export async function answer(
  world: World,
  flags: AnswerFlags,
  ask: (connection: AdminConnection) => Promise<View>,
): Promise<number> {
  const connection = await connectServer(world, 'agent', flags);
  try {
    writeView(world, await ask(connection), flags);
    return exit.ok;
  } finally {
    await connection.close();
  }
}

/** Writes a view in the form that was asked for. */
export function writeView(world: World, view: View, { output, headers }: AnswerFlags): void {
  const colour = wantsColour(world.stdout.isTTY, world.env);
  world.stdout.write(render(view, { format: output, headers, colour }));
}

/** `isthmus policy list` */
export function listPolicies(world: World, flags: AnswerFlags): Promise<number> {
  return answer(world, flags, async (connection) =>
    policiesView(await connection.get<PolicyRow[]>(policyPaths.policies)),
  );
}

/** `isthmus policy get <policy>` */
export function getPolicy(world: World, policy: string, flags: AnswerFlags): Promise<number> {
  const parts = policy.split('/');
  if (parts.length !== 3) {
    throw new IsthmusError(
      'invalid',
      `A policy must be named as 'isthmus policy list' does, such as TrafficPolicy/shop/web: current value is '${policy}'`,
    );
  }
  const path = `${policyPaths.policies}/${parts.map(encodeURIComponent).join('/')}`;
  return answer(world, flags, async (connection) => policyView(await connection.get<PolicyDetail[]>(path)));
}

/** `isthmus policy effective <service>` */
export function showEffective(world: World, service: string, flags: AnswerFlags): Promise<number> {
  const query = new URLSearchParams({ service }).toString();
  return answer(world, flags, async (connection) =>
    effectiveView(await connection.get<EffectiveReport>(`${policyPaths.effective}?${query}`)),
  );
}

export interface ApplyFlags extends AnswerFlags {
  /** `-` = standard input. */
  readonly files: readonly string[];
  readonly preview: boolean;
  /** Show what is different, and say so by the exit status. */
  readonly diff: boolean;
}

/** `isthmus policy apply` and `diff`. The latter ends with 1 when something would change, as `diff` does. */
export async function applyPolicies(world: World, { files, preview, diff, ...flags }: ApplyFlags): Promise<number> {
  const policies = await readPolicyFiles(files);
  let differs = false;
  await answer(world, flags, async (connection) => {
    const changes = await connection.post<PolicyChanges>(policyPaths.apply, { policies, preview });
    differs = changes.changes.some(({ action }) => action !== 'unchanged');
    if (!preview) tellUndo(world, changes);
    return changesView(changes, { diff });
  });
  return diff && differs ? exit.failed : exit.ok;
}

/** `isthmus policy delete <policy>` */
export function deletePolicy(
  world: World,
  policy: string,
  { preview, ...flags }: AnswerFlags & { readonly preview: boolean },
): Promise<number> {
  return answer(world, flags, async (connection) => {
    const changes = await connection.post<PolicyChanges>(policyPaths.remove, { policy, preview });
    if (!preview) tellUndo(world, changes);
    return changesView(changes, { diff: false });
  });
}

function tellUndo(world: World, { changes }: PolicyChanges): void {
  const undo = undoOf(changes);
  if (undo.length > 0) world.stderr.write(`Undo with:\n${undo.map((line) => `${line}\n`).join('')}`);
}

/** Enough for anchors that save typing, too few for a bomb. */
const maxAliases = 100;

/** All YAML documents of some files. @throws IsthmusError `invalid` naming the file */
export async function readPolicyFiles(files: readonly string[]): Promise<readonly unknown[]> {
  const documents: unknown[] = [];
  for (const file of files) {
    for (const document of parseAllDocuments(await readText(file), { prettyErrors: true, logLevel: 'error' })) {
      const [error] = document.errors;
      if (error) throw new IsthmusError('invalid', `${file} is not valid YAML: ${error.message}`);
      const value: unknown = document.toJS({ maxAliasCount: maxAliases });
      if (value !== null) documents.push(value);
    }
  }
  if (documents.length === 0) throw new IsthmusError('invalid', `There is no policy in ${files.join(', ')}`);
  return documents;
}

async function readText(file: string): Promise<string> {
  if (file === '-') return (await readAll(process.stdin)).toString('utf8');
  try {
    return await readFile(file, 'utf8');
  } catch (thrown) {
    throw new IsthmusError('invalid', `Cannot read ${file}: ${messageOf(thrown)}`, { cause: thrown });
  }
}
