import { connect, createServer } from 'node:net';

/** Forwards TCP to the port in the first argument, prints its own; its process can be stopped by a signal. */
const target = Number(process.argv[2]);
const backlog = Number(process.argv[3] ?? 511);
const server = createServer((socket) => {
  const inner = connect(target, '127.0.0.1');
  socket.pipe(inner).pipe(socket);
  socket.on('error', () => inner.destroy()).on('close', () => inner.destroy());
  inner.on('error', () => socket.destroy()).on('close', () => socket.destroy());
});
server.listen({ port: 0, host: '127.0.0.1', backlog }, () => {
  const bound = server.address();
  if (bound && typeof bound === 'object') process.stdout.write(`${bound.port}\n`);
});
