import { type Command, InvalidArgumentError, Option } from 'commander';
import type { OutputFormat } from '../../output-format.ts';
import type { World } from '../../world.ts';
import type { MemberChange } from '../commands/members.ts';
import { type Choose, examples, type ServerOptions, serverFlags, withOutput, withServer } from './options.ts';

interface OutputOptions {
  readonly output: OutputFormat;
  readonly headers: boolean;
}

/** What a cluster is admitted for, as flags. */
export interface AdmissionOptions {
  readonly exportable?: readonly string[];
  readonly label?: Readonly<Record<string, string>>;
  readonly mayPublishPolicy?: boolean;
  readonly mayOperate?: boolean;
  readonly maxServices?: number;
  readonly maxEndpoints?: number;
}

function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

/** `key=value`; an empty value takes the label away. */
function collectLabel(text: string, before: Readonly<Record<string, string>> | undefined): Record<string, string> {
  const equals = text.indexOf('=');
  if (equals < 1) throw new InvalidArgumentError(`It must be <key>=<value>, such as 'region=eu'.`);
  return { ...before, [text.slice(0, equals)]: text.slice(equals + 1) };
}

function countOption(text: string): number {
  const count = Number(text);
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return count;
}

/** Adds the flags of an admission document. */
export function withAdmission(command: Command): Command {
  return (
    command
      .option('--exportable <pattern>', `what it may export, such as 'shop/*'; repeatable`, collect)
      .option('--label <key=value>', 'a label of the cluster; repeatable', collectLabel)
      .option('--may-publish-policy', 'its policies count for the whole federation')
      .option('--no-may-publish-policy', 'they count for itself only')
      .option('--may-operate', 'it may drain and fail over other clusters')
      .option('--no-may-operate', 'it may not')
      .addOption(new Option('--max-services <count>', 'how many services it may export').argParser(countOption))
      .addOption(new Option('--max-endpoints <count>', 'how many endpoints, of all of them').argParser(countOption))
      // A pair of opposites has no default: what is not said stays as it is.
      .setOptionValue('mayPublishPolicy', undefined)
      .setOptionValue('mayOperate', undefined)
  );
}

/** The part of a request that says what a cluster is admitted for. */
export function admissionBody(given: AdmissionOptions): object {
  const { exportable, label, mayPublishPolicy, mayOperate, maxServices, maxEndpoints } = given;
  const limits = {
    ...(maxServices !== undefined && { services: maxServices }),
    ...(maxEndpoints !== undefined && { endpoints: maxEndpoints }),
  };
  return {
    ...(exportable && { exportable }),
    ...(label && { labels: label }),
    ...(mayPublishPolicy !== undefined && { mayPublishPolicy }),
    ...(mayOperate !== undefined && { mayOperate }),
    ...(Object.keys(limits).length > 0 && { limits }),
  };
}

const changes: readonly (readonly [MemberChange, string, string])[] = [
  [
    'suspend',
    'refuse the cluster everywhere until it is resumed',
    `isthmus clusters suspend east --why 'under repair'`,
  ],
  ['resume', 'admit a suspended cluster again', `isthmus clusters resume east --why repaired`],
  ['revoke', 'refuse the cluster everywhere, for ever', `isthmus clusters revoke east --why 'keys were stolen'`],
];

/** The verbs below `clusters` that change members, at the authority. */
export function addMembers(program: Command, world: World, choose: Choose): void {
  const clusters = program.commands.find((command) => command.name() === 'clusters') ?? program.command('clusters');
  // The parent has the same flags and takes them first: hence `optsWithGlobals`.
  const flags = (command: Command) => {
    const { output, headers, ...server } = command.optsWithGlobals<ServerOptions & OutputOptions>();
    return { ...serverFlags(server), output, headers };
  };
  for (const [change, text, example] of changes) {
    withServer(withOutput(clusters.command(`${change} <cluster>`)))
      .description(text)
      .requiredOption('--why <text>', 'for the journal')
      .addHelpText('after', examples([[example, 'at the authority']]))
      .action((cluster: string, _: unknown, command: Command) =>
        choose(async () => {
          const { why } = command.opts<{ why: string }>();
          return (await import('../commands/members.ts')).changeMember(world, change, { cluster, why }, flags(command));
        }),
      );
  }
  withServer(withOutput(clusters.command('label <cluster> <labels...>')))
    .description(`set labels of a cluster; '<key>=' takes one away`)
    .option('--why <text>', 'for the journal')
    .addHelpText('after', examples([['isthmus clusters label east region=eu tier=', 'at the authority']]))
    .action((cluster: string, labels: readonly string[], _: unknown, command: Command) =>
      choose(async () => {
        const { why = 'labels' } = command.opts<{ why?: string }>();
        const body = { labels: labels.reduce((all, text) => collectLabel(text, all), {}) };
        return (await import('../commands/members.ts')).admitMember(world, { cluster, why, body }, flags(command));
      }),
    );
  withAdmission(withServer(withOutput(clusters.command('admit <cluster>'))))
    .description('change what a cluster is admitted for: exports, permissions, limits')
    .requiredOption('--why <text>', 'for the journal')
    .addHelpText(
      'after',
      examples([[`isthmus clusters admit east --exportable 'shop/*' --why 'only its shop'`, 'at the authority']]),
    )
    .action((cluster: string, _: unknown, command: Command) =>
      choose(async () => {
        const given = command.opts<AdmissionOptions & { why: string }>();
        const request = { cluster, why: given.why, body: admissionBody(given) };
        return (await import('../commands/members.ts')).admitMember(world, request, flags(command));
      }),
    );
}
