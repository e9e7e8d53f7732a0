import {
  type ChannelOptions,
  type Client,
  credentials,
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  makeGenericClientConstructor,
  type MethodDefinition,
  Server,
  ServerCredentials,
} from '@grpc/grpc-js';

/** A gRPC service of four methods, one of each kind, whose messages are bytes. */

export interface EchoHandlers {
  readonly unary?: handleUnaryCall<Buffer, Buffer>;
  readonly down?: handleServerStreamingCall<Buffer, Buffer>;
  readonly up?: handleClientStreamingCall<Buffer, Buffer>;
  readonly both?: handleBidiStreamingCall<Buffer, Buffer>;
}

export const same = (message: Buffer): Buffer => message;
const method = (path: string, requestStream: boolean, responseStream: boolean): MethodDefinition<Buffer, Buffer> => ({
  path: `/test.Echo/${path}`,
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});

const definition = {
  unary: method('Unary', false, false),
  down: method('Down', false, true),
  up: method('Up', true, false),
  both: method('Both', true, true),
};

export const paths: Readonly<Record<keyof EchoHandlers, string>> = {
  unary: definition.unary.path,
  down: definition.down.path,
  up: definition.up.path,
  both: definition.both.path,
};

export interface EchoServer {
  readonly port: number;
  /** Ends everything at once, calls in progress included. */
  kill(): void;
  /** Lets calls in progress finish. */
  drain(): Promise<void>;
}

export async function startEcho(handlers: EchoHandlers, port = 0): Promise<EchoServer> {
  const server = new Server({ 'grpc.max_receive_message_length': -1 });
  server.addService(definition, { ...handlers });
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, on) =>
      error ? reject(error) : resolve(on),
    );
  });
  return {
    port: bound,
    kill: () => server.forceShutdown(),
    drain: () => new Promise((resolve) => server.tryShutdown(() => resolve())),
  };
}

const EchoClient = makeGenericClientConstructor(definition, 'Echo');

/** A client with a connection of its own. */
export function echoClient(port: number, options: ChannelOptions = {}): Client {
  return new EchoClient(`127.0.0.1:${port}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': -1,
    ...options,
  });
}
