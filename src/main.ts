import { runCli } from './cli/io/program.ts';
import { catchSignals, onHangup } from './cli/io/signals.ts';
import { packageVersion } from './cli/io/version.ts';
import type { World } from './cli/world.ts';
import { keepHeapTight } from './runtime/io/heap.ts';

/**
 * Where the command line meets the rest. Everything is loaded on first use: `--help` needs none of it, and no verb
 * should pay for another's.
 */
const world: World = {
  version: packageVersion(),
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  uid: process.getuid?.(),
  catchSignals,
  onHangup,
  connect: async (socketPath, timeoutMs) =>
    (await import('./admin/io/client.ts')).adminClient(socketPath, { timeoutMs }),
  listServices: async (from) => (await import('./config/io/list-services.ts')).listServices(from),
  readConfig: async (file, role) => (await import('./config/io/read.ts')).readConfig(file, role),
  run: async (role, file, io) => {
    const { loadConfig } = await import('./config/io/load.ts');
    switch (role) {
      case 'authority': {
        const config = await loadConfig('authority', file);
        return (await import('./roles/authority.ts')).runAuthority(config, io);
      }
      case 'agent': {
        // Before what is loaded makes the heap large.
        keepHeapTight();
        const config = await loadConfig('agent', file);
        return (await import('./roles/agent.ts')).runAgent(config, io);
      }
      case 'gateway': {
        const config = await loadConfig('gateway', file);
        return (await import('./roles/gateway.ts')).runGateway(config, io);
      }
    }
  },
  demo: async (options, io) => (await import('./roles/demo.ts')).runDemo(options, io),
  initAuthority: async (options, io) => (await import('./roles/authority-init.ts')).runAuthorityInit(options, io),
  authority: async () => (await import('./roles/authority-tools.ts')).authorityTools,
  join: async (options, io) => (await import('./roles/join.ts')).runJoin(options, io),
  trust: async () => (await import('./roles/trust-tools.ts')).trustTools,
  hub: async () => (await import('./roles/hub-tools.ts')).hubTools,
};

// A reader that has seen enough (`| head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

// A process that runs out of things to do before its command is over has failed, whatever it meant to say.
process.exitCode = 1;
process.exitCode = await runCli(process.argv.slice(2), world);
