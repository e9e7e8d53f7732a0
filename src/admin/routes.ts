/** One request as a route sees it. All of it comes from the other side and is hostile until looked at. */
export interface RouteRequest {
  /** `:name` parts of the path, decoded. */
  readonly params: Readonly<Record<string, string>>;
  /** The last value of each query parameter. */
  readonly query: Readonly<Record<string, string>>;
  /** Parsed JSON of a POST; undefined otherwise. */
  readonly body: unknown;
}

/** Answers with a JSON value. @throws IsthmusError, which becomes a status and a body of `error-reply.ts` */
export type RouteHandler = (request: RouteRequest) => unknown;

/** One route. `GET` changes nothing and is served read-only as well; `POST` on the private socket alone. */
export interface Route {
  readonly method: 'GET' | 'POST';
  /** With `:name` for parts that vary. */
  readonly path: string;
  readonly handler: RouteHandler;
  /** For a request that may be longer than most. */
  readonly maxBodyBytes?: number;
}

/** A whole API. */
export type Routes = readonly Route[];

export function get(path: string, handler: RouteHandler): Route {
  return { method: 'GET', path, handler };
}

export function post(path: string, handler: RouteHandler, options: Pick<Route, 'maxBodyBytes'> = {}): Route {
  return { method: 'POST', path, handler, ...options };
}
