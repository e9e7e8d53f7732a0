import { createRequire } from 'node:module';

/** One message as llhttp reads it. */
export interface Read {
  /** Of a request. */
  readonly method: string;
  /** Target of a request. */
  readonly target: string;
  /** Of a response. */
  readonly status: number;
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly content: Buffer;
  /** False: the bytes end within it. */
  readonly complete: boolean;
}

export interface Verdict {
  readonly messages: readonly Read[];
  /** llhttp's own word; undefined: nothing is wrong so far. */
  readonly error: string | undefined;
}

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly malloc: (size: number) => number;
  readonly free: (pointer: number) => void;
  readonly llhttp_alloc: (type: number) => number;
  readonly llhttp_free: (parser: number) => void;
  readonly llhttp_execute: (parser: number, at: number, length: number) => number;
  readonly llhttp_get_error_pos: (parser: number) => number;
  readonly llhttp_get_error_reason: (parser: number) => number;
  readonly llhttp_get_method: (parser: number) => number;
  readonly llhttp_resume_after_upgrade: (parser: number) => void;
}

interface Draft {
  target: string;
  fields: [string, string][];
  content: Buffer[];
  status: number;
  method: string;
  complete: boolean;
  /** What came last, since a name or a value may come in pieces. */
  last: 'name' | 'value' | undefined;
}

/** As far as it is used; TypeScript knows it with the libraries of browsers only. */
interface WebAssemblyApi {
  readonly Module: new (bytes: NodeJS.ArrayBufferView) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown };
}

const { Module, Instance } = Reflect.get(globalThis, 'WebAssembly') as WebAssemblyApi;
const require = createRequire(import.meta.url);
const code = require('undici/lib/llhttp/llhttp-wasm.js') as NodeJS.ArrayBufferView;
const { METHODS } = require('undici/lib/llhttp/constants.js') as { METHODS: Readonly<Record<string, number>> };
const pausedUpgrade = 22;
let drafts: Draft[] = [];
const methodNames = new Map(Object.entries(METHODS).map(([name, number]) => [number, name]));

const text = (at: number, length: number): string => Buffer.from(wasm.memory.buffer, at, length).toString('latin1');
const current = (): Draft => {
  const draft = drafts.at(-1);
  if (!draft) throw new Error('llhttp spoke before a message began');
  return draft;
};
const instance = new Instance(new Module(code), {
  env: {
    wasm_on_message_begin: () => {
      drafts.push({
        target: '',
        fields: [],
        content: [],
        status: 0,
        method: '',
        complete: false,
        last: undefined,
      });
      return 0;
    },
    wasm_on_url: (_parser: number, at: number, length: number) => {
      current().target += text(at, length);
      return 0;
    },
    wasm_on_status: () => 0,
    wasm_on_header_field: (_parser: number, at: number, length: number) => {
      const draft = current();
      const field = draft.last === 'name' ? draft.fields.at(-1) : undefined;
      if (field) field[0] += text(at, length);
      else draft.fields.push([text(at, length), '']);
      draft.last = 'name';
      return 0;
    },
    wasm_on_header_value: (_parser: number, at: number, length: number) => {
      const draft = current();
      const field = draft.fields.at(-1);
      if (field) field[1] += text(at, length);
      draft.last = 'value';
      return 0;
    },
    wasm_on_headers_complete: (parser: number, status: number) => {
      const draft = current();
      draft.status = status;
      draft.method = methodNames.get(wasm.llhttp_get_method(parser)) ?? '';
      return 0;
    },
    wasm_on_body: (_parser: number, at: number, length: number) => {
      current().content.push(Buffer.from(Buffer.from(wasm.memory.buffer, at, length)));
      return 0;
    },
    wasm_on_message_complete: () => {
      current().complete = true;
      return 0;
    },
  },
});
const wasm = instance.exports as Exports;

/** Whether llhttp knows the method: its set is closed. */
export function knowsMethod(method: string): boolean {
  return Object.hasOwn(METHODS, method);
}

/** The parser of Node and undici with nothing forgiven; all messages of the bytes. */
export function readByLlhttp(bytes: Buffer, kind: 'request' | 'response'): Verdict {
  drafts = [];
  const parser = wasm.llhttp_alloc(kind === 'request' ? 1 : 2);
  const at = wasm.malloc(bytes.length + 1);
  try {
    Buffer.from(wasm.memory.buffer, at, bytes.length).set(bytes);
    let from = at;
    let result = wasm.llhttp_execute(parser, from, bytes.length);
    while (result === pausedUpgrade) {
      from = wasm.llhttp_get_error_pos(parser);
      wasm.llhttp_resume_after_upgrade(parser);
      if (from >= at + bytes.length) break;
      result = wasm.llhttp_execute(parser, from, at + bytes.length - from);
    }
    const error = result === 0 || result === pausedUpgrade ? undefined : reasonAt(wasm.llhttp_get_error_reason(parser));
    return { messages: drafts.map(({ content, ...rest }) => ({ ...rest, content: Buffer.concat(content) })), error };
  } finally {
    wasm.llhttp_free(parser);
    wasm.free(at);
  }
}

function reasonAt(pointer: number): string {
  const memory = Buffer.from(wasm.memory.buffer);
  return pointer === 0 ? 'refused' : memory.toString('latin1', pointer, memory.indexOf(0, pointer));
}
