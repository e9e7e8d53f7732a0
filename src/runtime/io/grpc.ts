import { fileURLToPath } from 'node:url';
import {
  type GrpcObject,
  loadPackageDefinition,
  type Server,
  ServerCredentials,
  type ServiceClientConstructor,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { type TLSSocket } from 'node:tls';
import { IsthmusError } from '../../model/error.ts';

/** The folder is shipped beside `src/` and `dist/` alike. */
const protoDir = fileURLToPath(new URL('../../../proto/', import.meta.url));

/**
 * Loads one service of `proto/`. 64-bit integers become strings, bytes become Buffers, unset fields their defaults.
 * `file` is relative to `proto/`, `service` is fully qualified.
 */
export function loadService(file: string, service: string): ServiceClientConstructor {
  const definition = loadSync(file, {
    includeDirs: [protoDir],
    longs: String,
    enums: String,
    defaults: true,
    oneofs: true,
    keepCase: false,
  });
  let node: GrpcObject | ServiceClientConstructor = loadPackageDefinition(definition);
  for (const part of service.split('.')) {
    node = (node as GrpcObject)[part] as GrpcObject | ServiceClientConstructor;
    if (node === undefined) throw new IsthmusError('internal', `No service ${service} in ${file}`);
  }
  return node as ServiceClientConstructor;
}

/** Hands sockets that `acceptTls` has verified to a gRPC server, which never listens itself. */
export function injectorOf(server: Server): (socket: TLSSocket) => void {
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  return (socket) => injector.injectConnection(socket);
}
