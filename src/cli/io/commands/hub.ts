import { IsthmusError } from '../../../model/error.ts';
import { adminPaths, type HubAccepted, type LeaveReport } from '../../../model/status.ts';
import { exit } from '../../exit.ts';
import type { HubQuestion } from '../../hub-tools.ts';
import type { OutputFormat } from '../../output-format.ts';
import { render, type View, wantsColour } from '../../view.ts';
import { acceptedView, hubReportView, hubUsersView, leaveView } from '../../views/hub.ts';
import { clean } from '../../text.ts';
import type { World } from '../../world.ts';
import { connectServer, type ServerFlags } from '../connect.ts';

interface OutputFlags {
  readonly output: OutputFormat;
  readonly headers: boolean;
}

function show(world: World, view: View, { output, headers }: OutputFlags): void {
  const colour = wantsColour(world.stdout.isTTY, world.env);
  world.stdout.write(render(view, { format: output, headers, colour }));
}

export interface AclFlags extends OutputFlags {
  readonly prefix: string;
  readonly passwordFile?: string;
}

/** `isthmus hub acl <cluster…>` */
export async function printUsers(world: World, partitions: readonly string[], flags: AclFlags): Promise<number> {
  const { prefix, passwordFile } = flags;
  const question = { partitions, prefix, ...(passwordFile !== undefined && { passwordFile }) };
  show(world, hubUsersView(await (await world.hub()).users(question)), flags);
  if (passwordFile === undefined && flags.output === 'table') {
    world.stderr.write('Put a password in the place of PASSWORD, or name one with --password-file.\n');
  }
  return exit.ok;
}

/** Flags of `isthmus hub check`. */
export interface CheckFlags extends OutputFlags {
  readonly config?: string;
  readonly url?: string;
  readonly username?: string;
  readonly passwordFile?: string;
  readonly caFile?: string;
  readonly prefix: string;
  readonly cluster?: string;
}

/** `isthmus hub check`: exit 1 when a check failed. */
export async function checkHub(world: World, flags: CheckFlags): Promise<number> {
  const report = await (await world.hub()).check(questionOf(flags));
  show(world, hubReportView(report), flags);
  return report.checks.some(({ level }) => level === 'failed') ? exit.failed : exit.ok;
}

function questionOf({ config, url, ...given }: CheckFlags): HubQuestion {
  if (url !== undefined) {
    const { output: _output, headers: _headers, ...rest } = given;
    return { url, ...rest };
  }
  if (config !== undefined) return { config };
  throw new IsthmusError('invalid', 'hub check needs -f <file of an agent or authority>, or --url');
}

/** `isthmus hub accept <cluster>` */
export async function acceptHeld(world: World, cluster: string, flags: OutputFlags & ServerFlags): Promise<number> {
  const connection = await connectServer(world, 'agent', flags);
  try {
    show(world, acceptedView(await connection.post<HubAccepted>(adminPaths.hubAccept, { cluster })), flags);
    return exit.ok;
  } finally {
    await connection.close();
  }
}

export interface LeaveFlags extends OutputFlags, ServerFlags {
  readonly graceMs: number;
  readonly force: boolean;
  readonly yes: boolean;
  readonly keepMembership: boolean;
}

/** `isthmus leave`: the agent withdraws what it exports, says good-bye and stops. */
export async function leave(world: World, flags: LeaveFlags): Promise<number> {
  if (!flags.yes) {
    throw new IsthmusError('invalid', 'leave withdraws every export of this cluster and stops its agent: add --yes', {
      hint: 'It comes back with a new token; with --keep-membership by starting the agent again',
    });
  }
  const { graceMs, force, timeoutMs, keepMembership } = flags;
  const connection = await connectServer(world, 'agent', { ...flags, timeoutMs: timeoutMs + graceMs });
  try {
    const report = await connection.post<LeaveReport>(adminPaths.leave, { graceMs, force, keepMembership });
    show(world, leaveView(report), flags);
    world.stderr.write(
      report.stillMember === undefined
        ? `Undo with: isthmus token issue ${report.cluster} --rejoin, isthmus join --rejoin, and start the agent again\n`
        : `Still a member (${clean(report.stillMember)}). Undo with: start the agent again\n`,
    );
    return exit.ok;
  } finally {
    await connection.close();
  }
}
