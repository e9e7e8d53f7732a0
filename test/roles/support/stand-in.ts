import { createServer, type RequestListener, type Server } from 'node:http';
import type { Workload } from '../../../src/roles/demo/workload.ts';

/** An HTTP server of a test in the place of a workload of the demo. */
export interface StandIn {
  close(): Promise<void>;
}

/** Kills the workload and listens where it did. */
export async function standIn(workload: Workload, serve: RequestListener): Promise<StandIn> {
  workload.kill();
  const server: Server = createServer((request, response) => {
    response.setHeader('x-served-by', workload.cluster);
    serve(request, response);
  });
  // As the workload's: a server that closes idle connections would race with its clients.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve, reject) =>
    server.once('error', reject).listen({ host: '127.0.0.1', port: workload.port }, resolve),
  );
  return {
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
