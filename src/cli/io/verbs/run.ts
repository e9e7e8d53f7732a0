import { type Command, Option } from 'commander';
import type { OutputFormat } from '../../output-format.ts';
import type { FileRole, World } from '../../world.ts';
import { addAuthority } from './authority.ts';
import {
  type Choose,
  examples,
  fileOption,
  portOption,
  requiredFileOption,
  serverFlags,
  withOutput,
} from './options.ts';

const roleTexts: Readonly<Record<FileRole, string>> = {
  authority: 'run the trust authority: once for the federation',
  agent: 'run an agent: one leading replica per cluster',
  gateway: 'run a gateway: carries traffic between clusters',
};

/** `authority`, `agent`, `gateway`. */
export function addRoles(program: Command, world: World, choose: Choose): void {
  for (const role of ['authority', 'agent', 'gateway'] as const) {
    const command = program
      .command(role)
      .description(roleTexts[role])
      .addOption(role === 'authority' ? fileOption() : requiredFileOption())
      .addHelpText('after', examples([[`isthmus ${role} -f ${role}.yaml`, 'until SIGINT or SIGTERM']]))
      .action(({ config }: { config?: string }) =>
        choose(async () => {
          if (config === undefined) return command.error(`error: required option '-f, --config <file>' not specified`);
          return (await import('../commands/roles.ts')).runRole(world, role, config);
        }),
      );
    if (role === 'authority') addAuthority(command, world, choose);
  }
}

interface DemoOptionValues {
  readonly hub: string;
  readonly scenario?: 'failover';
  readonly json?: boolean;
  readonly service?: readonly string[];
  readonly ports?: number;
}

/** `demo` and its control verbs. */
export function addDemo(program: Command, world: World, choose: Choose): void {
  const demo = program
    .command('demo')
    .description('three linked clusters on this machine, with live traffic')
    .addOption(
      new Option('--hub <which>', `'memory', 'auto' (a private redis-server) or a redis:// URL`)
        .default('memory')
        .env('ISTHMUS_DEMO_HUB'),
    )
    .addOption(new Option('--scenario <name>', 'run it unattended, then end').choices(['failover']))
    .option('--json', 'end with one JSON object on stdout')
    .option(
      '--service <name=address>',
      'export a real TCP server of this machine from east; repeatable',
      (value: string, before: readonly string[] | undefined) => [...(before ?? []), value],
    )
    .addOption(new Option('--ports <first>', 'fixed ports from this one on; default: free ones').argParser(portOption))
    .addHelpText(
      'after',
      examples([
        ['isthmus demo', 'until Ctrl-C'],
        ['isthmus demo --scenario failover --json', 'kills instances, counts failed requests'],
        ['isthmus demo --service shop/db=127.0.0.1:5432', 'a database here, reachable from west'],
        ['isthmus demo fail east', 'in another terminal: east loses its instances'],
      ]),
    )
    .action(({ ports, ...flags }: DemoOptionValues) =>
      choose(async () => {
        const { runDemo } = await import('../commands/roles.ts');
        return runDemo(world, { ...flags, ...(ports !== undefined && { portsFrom: ports }) });
      }),
    );
  const control = (verb: 'status' | 'fail' | 'restore', usage: string, text: string): void => {
    const command = demo.command(usage).description(text);
    withOutput(command)
      .addOption(new Option('--server <socket>', 'control socket of the demo').env('ISTHMUS_DEMO_SERVER'))
      .addHelpText('after', examples([[`isthmus demo ${verb}${verb === 'status' ? '' : ' east'}`, text]]))
      .action((...given: unknown[]) =>
        choose(async () => {
          const { output, headers, server } = command.opts<{
            output: OutputFormat;
            headers: boolean;
            server?: string;
          }>();
          const cluster = typeof given[0] === 'string' ? given[0] : '';
          const { controlDemo } = await import('../commands/demo-control.ts');
          return controlDemo(world, verb, cluster, { output, headers, ...serverFlags(server ? { server } : {}) });
        }),
      );
  };
  control('status', 'status', 'show how the running demo stands');
  control('fail', 'fail <cluster>', 'stop the instances of a cluster, abruptly');
  control('restore', 'restore <cluster>', 'start them again');
}
