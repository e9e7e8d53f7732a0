import type { Command } from 'commander';
import type { OutputFormat } from '../../output-format.ts';
import type { World } from '../../world.ts';
import type { ShowFlags, ShowVerb } from '../commands/show.ts';
import { type Choose, examples, type ServerOptions, serverFlags, withOutput, withServer } from './options.ts';

const defaultWaitMs = 60_000;

interface ShowOptionValues extends ServerOptions {
  readonly output: OutputFormat;
  readonly headers: boolean;
  readonly watch?: boolean;
  readonly wait?: boolean;
  readonly as?: string;
  readonly method?: string;
  readonly path?: string;
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
    'events',
    'events',
    'what was refused, held back, repaired: the last of each',
    [['isthmus events -o json', 'for scripts']],
  ],
  [
    'explain',
    'explain <from-or-destination> [destination]',
    'where a connection would go now, step by step',
    [
      ['isthmus explain shop/web:80', 'from the own cluster'],
      ['isthmus explain west shop/web:80', 'from west'],
      [
        'isthmus explain shop/web:80 --as spiffe://west.mesh.example/ns/shop/sa/cart --method GET --path /api',
        'one request',
      ],
    ],
  ],
];

/** `status`, `clusters`, `links`, `services`, `gateways`, `events`, `explain`. */
export function addShows(program: Command, world: World, choose: Choose): void {
  for (const [verb, usage, text, lines] of shows) {
    const command = program.command(usage).description(text);
    withServer(withOutput(command)).option('-w, --watch', 'again each second');
    if (verb === 'status') command.option('--wait', 'until it is ready; --timeout then defaults to 60s');
    if (verb === 'explain') {
      command
        .option('--as <spiffe-id>', 'the workload that calls; default: one that cannot be named')
        .option('--method <method>', 'judge a request with this method (GET if only --path is given)')
        .option('--path <path>', 'judge a request for this path (/ if only --method is given)');
    }
    command.addHelpText('after', examples(lines)).action(() =>
      choose(async () => {
        const given = command.opts<ShowOptionValues>();
        const flags: ShowFlags = {
          ...serverFlags(given),
          output: given.output,
          headers: given.headers,
          watch: given.watch ?? false,
          about: aboutOf(given),
        };
        const { showCommand, waitReady } = await import('../commands/show.ts');
        if (given.wait) return waitReady(world, { ...flags, timeoutMs: given.timeout ?? defaultWaitMs });
        return showCommand(world, verb, command.args, flags);
      }),
    );
  }
}

function aboutOf({ as, method, path }: ShowOptionValues): ShowFlags['about'] {
  return {
    ...(as !== undefined && { as }),
    ...(method !== undefined && { method }),
    ...(path !== undefined && { path }),
  };
}
