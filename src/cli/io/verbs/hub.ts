import { type Command, Option } from 'commander';
import type { OutputFormat } from '../../output-format.ts';
import type { World } from '../../world.ts';
import type { AclFlags, CheckFlags } from '../commands/hub.ts';
import {
  type Choose,
  durationOption,
  examples,
  fileOption,
  type ServerOptions,
  serverFlags,
  withOutput,
  withServer,
} from './options.ts';

interface OutputOptions {
  readonly output: OutputFormat;
  readonly headers: boolean;
}

function prefixOption(): Option {
  return new Option('--prefix <word>', 'first part of every key').default('isthmus').env('ISTHMUS_HUB_PREFIX');
}

/** `hub acl|check|accept` and `leave`. */
export function addHub(program: Command, world: World, choose: Choose): void {
  const hub = program.command('hub').description('the Redis through which clusters know of each other');
  addAcl(hub, world, choose);
  addCheck(hub, world, choose);
  addAccept(hub, world, choose);
  addLeave(program, world, choose);
}

function addAcl(hub: Command, world: World, choose: Choose): void {
  withOutput(hub.command('acl <cluster...>'))
    .description(`print the Redis user of a cluster, or of the 'authority': it can write its own keys only`)
    .addOption(prefixOption())
    .option('--password-file <file>', 'its password (0600); only its SHA-256 is printed')
    .addHelpText(
      'after',
      examples([
        ['isthmus hub acl east --password-file east.pw | redis-cli', 'make the user'],
        ['isthmus hub acl authority east west', 'all of them, each with a place for its password'],
      ]),
    )
    .action((clusters: readonly string[], flags: AclFlags) =>
      choose(async () => (await import('../commands/hub.ts')).printUsers(world, clusters, flags)),
    );
}

function addCheck(hub: Command, world: World, choose: Choose): void {
  withOutput(hub.command('check'))
    .description('look whether a Redis is fit to be a hub, and what this user may do')
    .addOption(fileOption())
    .addOption(new Option('--url <redis-url>', 'instead of a file').conflicts('config').env('ISTHMUS_HUB_URL'))
    .option('--username <user>', 'with --url')
    .option('--password-file <file>', 'with --url (0600)')
    .option('--ca-file <pem>', 'with --url: anchors for rediss://')
    .option('--cluster <name>', 'with --url: whose partition this user should be able to write')
    .addOption(prefixOption())
    .addHelpText(
      'after',
      examples([
        ['isthmus hub check -f agent.yaml', 'as the agent would sign in; exit 1 if a check failed'],
        ['isthmus hub check --url redis://10.0.0.9:6379 -o json', 'any Redis'],
      ]),
    )
    .action((flags: CheckFlags) => choose(async () => (await import('../commands/hub.ts')).checkHub(world, flags)));
}

function addAccept(hub: Command, world: World, choose: Choose): void {
  withServer(withOutput(hub.command('accept <cluster>')))
    .description('confirm that many exports which went at once are meant to go')
    .addHelpText(
      'after',
      examples([
        ['isthmus hub accept east', `at east's own agent: publish it; at another's: believe it`],
        ['isthmus status', 'tells what is held back'],
      ]),
    )
    .action((cluster: string, flags: OutputOptions & ServerOptions) =>
      choose(async () =>
        (await import('../commands/hub.ts')).acceptHeld(world, cluster, { ...flags, ...serverFlags(flags) }),
      ),
    );
}

interface LeaveOptions extends OutputOptions, ServerOptions {
  readonly grace?: number;
  readonly force?: boolean;
  readonly yes?: boolean;
  readonly keepMembership?: boolean;
}

const defaultGraceMs = 10_000;
/** Besides the grace: for the hub to take what is written. */
const defaultLeaveTimeoutMs = 20_000;

function addLeave(program: Command, world: World, choose: Choose): void {
  withServer(withOutput(program.command('leave')))
    .description('take this cluster out of the federation: withdraw its exports, say good-bye, stop its agent')
    .addOption(
      new Option('--grace <duration>', 'gateways go on for so long after the exports are withdrawn')
        .argParser(durationOption)
        .default(undefined, '10s'),
    )
    .option('--force', 'even if the hub cannot be told: the other members keep what they know')
    .option('--keep-membership', 'stay a member: the agent may just be started again')
    .option('--yes', 'it is meant')
    .addHelpText(
      'after',
      examples([
        ['isthmus leave --yes', 'the agent stops when the others know'],
        ['isthmus leave --yes --force', 'whoever else is dead'],
      ]),
    )
    .action(({ grace = defaultGraceMs, force = false, yes = false, keepMembership = false, ...given }: LeaveOptions) =>
      choose(async () => {
        const flags = { ...given, ...serverFlags({ ...given, timeout: given.timeout ?? defaultLeaveTimeoutMs }) };
        return (await import('../commands/hub.ts')).leave(world, {
          ...flags,
          graceMs: grace,
          force,
          yes,
          keepMembership,
        });
      }),
    );
}
