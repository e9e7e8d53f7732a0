import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { IsthmusError } from '../../model/error.ts';
import { parseDuration } from '../../runtime/duration.ts';
import { describeError, exit, exitOf } from '../exit.ts';
import { type OutputFormat, outputFormats } from '../output-format.ts';
import type { FileRole, World } from '../world.ts';
import type { ShowFlags, ShowVerb } from './commands/show.ts';

/** Each verb's module is loaded when the verb runs: `--help` must not pay for any of them. */
type Action = () => Promise<number>;

const defaultTimeoutMs = 5000;
const defaultWaitMs = 60_000;

/**
 * Runs one command line (without `node` and the script). Everything it has to say goes to `world`.
 * @returns the exit status (`exit.ts`)
 */
export async function runCli(args: readonly string[], world: World): Promise<number> {
  let action: Action | undefined;
  const program = buildProgram(world, (chosen) => {
    action = chosen;
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return action === undefined ? exit.ok : await action();
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? exit.ok : exit.usage;
    const error = IsthmusError.from(thrown);
    world.stderr.write(describeError(error));
    if (error.code === 'internal' && error.cause instanceof Error) world.stderr.write(`${error.cause.stack ?? ''}\n`);
    return exitOf(error);
  }
}

type Choose = (action: Action) => void;

function buildProgram(world: World, choose: Choose): Command {
  const program = new Command('isthmus')
    .description('Links clusters into one federation: gateways, one trust root, shared services.')
    .configureOutput({
      writeOut: (text) => void world.stdout.write(text),
      writeErr: (text) => void world.stderr.write(text),
    })
    .exitOverride()
    .version(world.version, '-V, --version', 'print the version')
    .helpCommand(true)
    .addHelpText(
      'after',
      examples([
        ['isthmus demo', 'three linked clusters on this machine'],
        ['isthmus status', 'is it ready, and if not, what does it wait for'],
        ['isthmus services shop/web', 'who serves it, with which share, and why'],
        ['isthmus explain shop/web:80', 'where a connection would go now'],
      ]) + '\nExit status: 0 ok, 1 a check failed, 2 usage or configuration, 4 unreachable or timed out.\n',
    );
  program.commandsGroup('Run:');
  addRoles(program, world, choose);
  addDemo(program, world, choose);
  program.commandsGroup('Set up:');
  addSetUp(program, world, choose);
  program.commandsGroup('Look:');
  addShows(program, world, choose);
  program.commandsGroup('More:');
  program
    .command('version')
    .description('print the version')
    .action(() =>
      choose(async () => {
        world.stdout.write(`isthmus ${world.version}\n`);
        return exit.ok;
      }),
    );
  return program;
}

function examples(lines: readonly (readonly [string, string])[]): string {
  const width = Math.max(...lines.map(([command]) => command.length));
  return `\nExamples:\n${lines.map(([command, what]) => `  ${command.padEnd(width)}  # ${what}\n`).join('')}`;
}

function durationOption(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined || ms === 0) throw new InvalidArgumentError(`It must be a duration such as '500ms' or '5s'.`);
  return ms;
}

function portOption(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1024 || port > 65_000) {
    throw new InvalidArgumentError('It must be a port from 1024 to 65000.');
  }
  return port;
}

function fileOption(): Option {
  return new Option('-f, --config <file>', 'configuration, YAML').env('ISTHMUS_CONFIG');
}

function requiredFileOption(): Option {
  return fileOption().makeOptionMandatory();
}

/** Flags of verbs that talk to a running server. */
function withServer(command: Command): Command {
  return command
    .addOption(new Option('--server <socket>', 'admin socket of the agent or authority').env('ISTHMUS_SERVER'))
    .addOption(new Option('--config <file>', 'its configuration, which tells the socket').env('ISTHMUS_CONFIG'))
    .addOption(
      new Option('--timeout <duration>', 'give up after this')
        .argParser(durationOption)
        .default(undefined, '5s')
        .env('ISTHMUS_TIMEOUT'),
    );
}

function withOutput(command: Command): Command {
  return command
    .addOption(
      new Option('-o, --output <format>', 'form of the answer')
        .choices(outputFormats)
        .default('table')
        .env('ISTHMUS_OUTPUT'),
    )
    .option('--no-headers', 'leave out the line of titles');
}

interface ServerOptions {
  readonly server?: string;
  readonly config?: string;
  readonly timeout?: number;
}

function serverFlags({ server, config, timeout }: ServerOptions): Pick<ShowFlags, 'server' | 'config' | 'timeoutMs'> {
  return {
    ...(server !== undefined && { server }),
    ...(config !== undefined && { config }),
    timeoutMs: timeout ?? defaultTimeoutMs,
  };
}

const roleTexts: Readonly<Record<FileRole, string>> = {
  authority: 'run the trust authority: once for the federation',
  agent: 'run an agent: one leading replica per cluster',
  gateway: 'run a gateway: carries traffic between clusters',
};

function addRoles(program: Command, world: World, choose: Choose): void {
  for (const role of ['authority', 'agent', 'gateway'] as const) {
    const command = program
      .command(role)
      .description(roleTexts[role])
      .addOption(role === 'authority' ? fileOption() : requiredFileOption())
      .addHelpText('after', examples([[`isthmus ${role} -f ${role}.yaml`, 'until SIGINT or SIGTERM']]))
      .action(({ config }: { config?: string }) =>
        choose(async () => {
          if (config === undefined) return command.error(`error: required option '-f, --config <file>' not specified`);
          return (await import('./commands/roles.ts')).runRole(world, role, config);
        }),
      );
    if (role === 'authority') addAuthorityInit(command, world, choose);
  }
}

interface InitOptionValues {
  readonly config?: string;
  readonly stateDir?: string;
  readonly federationDomain?: string;
  readonly passphraseFile?: string;
}

function addAuthorityInit(authority: Command, world: World, choose: Choose): void {
  authority
    .command('init')
    .description('make the root and authority keys; refuses to overwrite any')
    // The parent has the same flag and takes it first: hence `optsWithGlobals` below.
    .addOption(fileOption())
    .addOption(new Option('--state-dir <folder>', 'where to keep them (0700)').env('ISTHMUS_STATE_DIR'))
    .addOption(
      new Option('--federation-domain <domain>', 'parent of all trust domains, such as mesh.example').env(
        'ISTHMUS_FEDERATION_DOMAIN',
      ),
    )
    .option('--passphrase-file <file>', 'unlocks the keys (0600); default: one is made beside them')
    .addHelpText(
      'after',
      examples([
        ['isthmus authority init -f authority.yaml', 'as the file says'],
        ['isthmus authority init --state-dir state --federation-domain mesh.example', 'without a file'],
      ]),
    )
    .action((_: unknown, command: Command) =>
      choose(async () => {
        const { config, ...flags } = command.optsWithGlobals<InitOptionValues>();
        const { initAuthority } = await import('./commands/roles.ts');
        return initAuthority(world, { ...flags, ...(config !== undefined && { file: config }) });
      }),
    );
}

interface DemoOptionValues {
  readonly hub: string;
  readonly scenario?: 'failover';
  readonly json?: boolean;
  readonly service?: readonly string[];
  readonly ports?: number;
}

function addDemo(program: Command, world: World, choose: Choose): void {
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
        const { runDemo } = await import('./commands/roles.ts');
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
          const { controlDemo } = await import('./commands/demo-control.ts');
          return controlDemo(world, verb, cluster, { output, headers, ...serverFlags(server ? { server } : {}) });
        }),
      );
  };
  control('status', 'status', 'show how the running demo stands');
  control('fail', 'fail <cluster>', 'stop the instances of a cluster, abruptly');
  control('restore', 'restore <cluster>', 'start them again');
}

function addSetUp(program: Command, world: World, choose: Choose): void {
  program
    .command('join')
    .description('give an agent its first identity, with a token of the authority')
    .addOption(fileOption())
    .addOption(new Option('--state-dir <folder>', 'state directory of the agent').env('ISTHMUS_STATE_DIR'))
    .addOption(new Option('--replica <name>', 'default: as the file says, else agent-0').env('ISTHMUS_REPLICA'))
    .requiredOption('--token-file <file>', `the token (0600), or '-' for standard input`)
    .addHelpText('after', examples([['isthmus join -f agent.yaml --token-file east.token', 'single use']]))
    .action(({ config, ...flags }: { config?: string; tokenFile: string; stateDir?: string; replica?: string }) =>
      choose(async () => {
        const { join } = await import('./commands/roles.ts');
        return join(world, { ...flags, ...(config !== undefined && { file: config }) });
      }),
    );

  const token = program.command('token').description('join tokens');
  withServer(token.command('issue [cluster]'))
    .description('issue a token for a cluster (authority) or a gateway (agent)')
    .option('--gateway <replica>', 'for this gateway of the own cluster, at its agent')
    .addOption(
      new Option('--ttl <duration>', 'valid for at most 15m')
        .argParser(durationOption)
        .default(undefined, 'the longest'),
    )
    .option('--out <file>', 'write it to this file (0600) instead of stdout')
    .addOption(new Option('-o, --output <format>').choices(['text', 'json']).default('text'))
    .addHelpText(
      'after',
      examples([
        ['isthmus token issue east --out east.token', 'one use, for cluster east'],
        ['isthmus token issue --gateway gateway-0 --out gateway.token', 'for a gateway'],
      ]),
    )
    .action(
      (
        cluster: string | undefined,
        given: ServerOptions & { gateway?: string; ttl?: number; out?: string; output: string },
      ) =>
        choose(async () => {
          const { gateway, ttl, out, output } = given;
          const { issueToken } = await import('./commands/token.ts');
          return issueToken(world, cluster, {
            ...serverFlags(given),
            output,
            ...(gateway !== undefined && { gateway }),
            ...(ttl !== undefined && { ttlMs: ttl }),
            ...(out !== undefined && { out }),
          });
        }),
    );

  const config = program.command('config').description('configuration files');
  const roleOption = (): Option =>
    new Option('--role <role>', 'whose file it is; default: as it says').choices(['authority', 'agent', 'gateway']);
  config
    .command('check')
    .description('say everything that is wrong with a file')
    .addOption(requiredFileOption())
    .addOption(roleOption())
    .addHelpText('after', examples([['isthmus config check -f agent.yaml', 'exit 2 if it is not right']]))
    .action(({ config: file, role }: { config: string; role?: FileRole }) =>
      choose(async () => {
        const { checkConfig } = await import('./commands/config.ts');
        return checkConfig(world, { file, ...(role !== undefined && { role }) });
      }),
    );
  config
    .command('view')
    .description('show every value in force, defaults included')
    .addOption(requiredFileOption())
    .addOption(roleOption())
    .option('--show-origin', 'say where each value comes from')
    .addOption(new Option('-o, --output <format>').choices(['yaml', 'json']).default('yaml'))
    .addHelpText('after', examples([['isthmus config view -f agent.yaml --show-origin', 'file and line of each']]))
    .action(
      ({ config: file, role, ...rest }: { config: string; role?: FileRole; showOrigin?: boolean; output?: string }) =>
        choose(async () => {
          const { viewConfig } = await import('./commands/config.ts');
          return viewConfig(world, { file, ...rest, ...(role !== undefined && { role }) });
        }),
    );
}

interface ShowOptionValues extends ServerOptions {
  readonly output: OutputFormat;
  readonly headers: boolean;
  readonly watch?: boolean;
  readonly wait?: boolean;
}

const shows: readonly (readonly [ShowVerb, string, string, readonly (readonly [string, string])[]])[] = [
  [
    'status',
    'status',
    'is it ready, and if not, what does it wait for',
    [
      ['isthmus status', 'the agent, or the authority'],
      ['isthmus status --wait --timeout 60s', 'until it is ready'],
    ],
  ],
  [
    'clusters',
    'clusters',
    'members of the federation and how fresh their data is',
    [['isthmus clusters -o wide', 'with trust domains']],
  ],
  [
    'links',
    'links',
    'the ways between clusters: reachable, round trips, loss',
    [['isthmus links -w', 'again each second']],
  ],
  [
    'services',
    'services [service]',
    'shared services; one of them in full as <namespace>/<name>',
    [
      ['isthmus services', 'all'],
      ['isthmus services shop/web', 'shares per cluster, and why'],
    ],
  ],
  ['gateways', 'gateways', 'gateways of all clusters', [['isthmus gateways -o json', 'for scripts']]],
  [
    'explain',
    'explain <from-or-destination> [destination]',
    'where a connection would go now, step by step',
    [
      ['isthmus explain shop/web:80', 'from the own cluster'],
      ['isthmus explain west shop/web:80', 'from west'],
    ],
  ],
];

function addShows(program: Command, world: World, choose: Choose): void {
  for (const [verb, usage, text, lines] of shows) {
    const command = program.command(usage).description(text);
    withServer(withOutput(command)).option('-w, --watch', 'again each second');
    if (verb === 'status') command.option('--wait', 'until it is ready; --timeout then defaults to 60s');
    command.addHelpText('after', examples(lines)).action(() =>
      choose(async () => {
        const given = command.opts<ShowOptionValues>();
        const flags: ShowFlags = {
          ...serverFlags(given),
          output: given.output,
          headers: given.headers,
          watch: given.watch ?? false,
        };
        const { showCommand, waitReady } = await import('./commands/show.ts');
        if (given.wait) return waitReady(world, { ...flags, timeoutMs: given.timeout ?? defaultWaitMs });
        return showCommand(world, verb, command.args, flags);
      }),
    );
  }
}
