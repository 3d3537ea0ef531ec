/** The contract over HTTP (CONTRACT §1): token, route and method, media type and size, in this order. */

import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, STATUS_CODES } from "node:http";

import { RunCaller, send, StreamCaller } from "./callers.mjs";
import { Failure, inputsFailure } from "./errors.mjs";
import { Refusal } from "./request.mjs";

const KEEP_ALIVE_MS = 75_000; // longer than a client's own: whoever closes first should be the one who asks
const HEAD_BYTES = 64 * 1024;
const UNREAD_MS = 10_000;
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/;

/** The client closed the connection before its request was complete; nobody waits for an answer. */
class ClientLeft extends Error {}

export class HttpServer {
    constructor(service) {
        this.service = service;
        this.token = service.settings.token === "" ? null : digestOf(`Bearer ${service.settings.token}`);
        const server = createServer({
            keepAliveTimeout: KEEP_ALIVE_MS,
            maxHeaderSize: HEAD_BYTES,
            requireHostHeader: false,
        });
        server.maxHeadersCount = 0; // their bytes are limited; dropping the last ones in silence would be worse
        for (const event of ["request", "checkContinue", "checkExpectation"]) {
            server.on(event, (request, response) => this.#serve(request, response));
        }
        server.on("connect", (request, socket) => this.#refuseTunnel(request, socket));
        server.on("clientError", (error, socket) => this.#refuseUnparsable(error, socket));
        this.server = server;
    }

    /** Listen, or throw the system's error. */
    listen(host, port) {
        return new Promise((resolve, reject) => {
            this.server.once("error", reject);
            this.server.listen(port, host, () => {
                this.server.off("error", reject);
                resolve(this.server.address().port);
            });
        });
    }

    /** Take no new connections; return when every answer has left, or after `atMostMs`. */
    async close(atMostMs) {
        const closed = new Promise((resolve) => {
            this.server.close(resolve);
        });
        const sweep = setInterval(() => this.server.closeIdleConnections(), 10);
        const late = new Promise((resolve) => {
            setTimeout(resolve, atMostMs);
        });
        await Promise.race([closed, late]);
        clearInterval(sweep);
    }

    async #serve(request, response) {
        response.on("error", () => {}); // the client has gone; who cares is told by `close`
        try {
            await this.#route(request, response);
        } catch (error) {
            if (error instanceof ClientLeft) {
                return;
            }
            const isRefusal = error instanceof Refusal || error instanceof Failure;
            const answer = !isRefusal
                ? this.service.recorder.fault(error)
                : this.service.recorder.refusal(error.failure ?? error, error.executionId);
            this.#limitUnread(request, response);
            send(response, answer, error.extraHeaders);
        }
    }

    async #route(request, response) {
        const path = pathOf(request.url);
        if (path !== "/healthz" && !this.#isAuthorized(request)) {
            throw withHeaders(new Failure("ERR_UNAUTHORIZED"), { "WWW-Authenticate": "Bearer" });
        }
        const [methods, endpoint] = this.#endpointOf(path);
        if (!methods.includes(request.method)) {
            throw withHeaders(new Failure("ERR_METHOD"), { Allow: methods.join(", ") });
        }
        await endpoint(request, response);
    }

    #endpointOf(path) {
        const reads = ["GET", "HEAD"];
        switch (path) {
            case "/healthz":
                return [reads, (_, response) => this.#health(response)];
            case "/contract":
                return [reads, (_, response) => sendJson(response, 200, this.service.contract())];
            case "/run":
                return [["POST"], (request, response) => this.#run(request, response, new RunCaller(response))];
            case "/run-stream":
                return [
                    ["POST"],
                    (request, response) => this.#run(request, response, new StreamCaller(response, this.service.mask)),
                ];
        }
        const executionId = /^\/run\/([^/]+)$/.exec(path)?.[1];
        if (executionId === undefined) {
            throw new Failure("ERR_NOT_FOUND");
        }
        return [["DELETE"], (_, response) => this.#cancel(response, executionId)];
    }

    #health(response) {
        const state = this.service.health();
        if (state === "ok") {
            sendJson(response, 200, { ok: true });
        } else {
            sendJson(response, 503, { ok: false, state });
        }
    }

    #cancel(response, executionId) {
        if (!this.service.executor.cancel(executionId)) {
            throw new Failure("ERR_NOT_FOUND");
        }
        sendJson(response, 202, { execution_id: executionId, state: "cancelling" });
    }

    async #run(request, response, caller) {
        checkMediaType(request);
        const bytes = await bodyOf(request, response, this.service.settings.maxBodyBytes);
        const accepted = await this.service.judge.check(bytes);
        if (caller.streams && caller.gone) {
            throw new ClientLeft();
        }
        this.service.executor.submit({ ...accepted, ...traceOf(request) }, caller);
    }

    #isAuthorized(request) {
        if (this.token === null) {
            return true;
        }
        const given = headersOf(request, "authorization");
        return given.length === 1 && timingSafeEqual(digestOf(given[0]), this.token);
    }

    /** A body that nobody reads is let through for a while, so that a client which sends first can read its answer. */
    #limitUnread(request, response) {
        if (request.headers.expect !== undefined && !request.readableFlowing) {
            response.shouldKeepAlive = false; // it may send the body or not: nobody knows where the next request begins
        }
        if (!request.complete) {
            const late = setTimeout(() => request.socket.destroy(), UNREAD_MS);
            request.on("close", () => clearTimeout(late));
        }
    }

    /** `CONNECT` comes with a bare socket. */
    #refuseTunnel(request, socket) {
        socket.on("error", () => {});
        const failure = this.#isAuthorized(request) ? new Failure("ERR_NOT_FOUND") : new Failure("ERR_UNAUTHORIZED");
        const { status, body } = this.service.recorder.refusal(failure);
        socket.end(
            `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Type: application/json\r\n` +
                `${status === 401 ? "WWW-Authenticate: Bearer\r\n" : ""}` +
                `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
        );
    }

    /** What is no HTTP has no route, and so no envelope. */
    #refuseUnparsable(error, socket) {
        if (!socket.writable || error.code === "ECONNRESET") {
            socket.destroy();
            return;
        }
        this.service.log.event("http.unparsable", { code: error.code }, "warning");
        const status = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }[error.code] ?? 400;
        socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    }
}

function checkMediaType(request) {
    const types = headersOf(request, "content-type");
    const isJson = types.length === 1 && types[0].split(";")[0].trim().toLowerCase() === "application/json";
    const message = "Content-Type must be application/json";
    if (!isJson) {
        throw inputsFailure(message, "Content-Type", "must be application/json, once", 415);
    }
    if (headersOf(request, "content-encoding").length > 0) {
        throw inputsFailure(message, "Content-Encoding", "must be absent", 415);
    }
}

/** Return the whole body, of at most `limit` bytes, announced or chunked. */
function bodyOf(request, response, limit) {
    return new Promise((resolve, reject) => {
        const tooLarge = () => inputsFailure("Request body too large", "", `must have at most ${limit} bytes`, 413);
        if (Number(request.headers["content-length"] ?? 0) > limit) {
            reject(tooLarge());
            return;
        }
        if (request.headers.expect?.toLowerCase() === "100-continue") {
            response.writeContinue();
        }
        const chunks = [];
        let size = 0;
        request.on("data", (chunk) => {
            size += chunk.length;
            if (size <= limit) {
                chunks.push(chunk);
            } else {
                chunks.length = 0;
                reject(tooLarge()); // what follows is read and forgotten
            }
        });
        request.on("end", () => resolve(Buffer.concat(chunks)));
        request.on("close", () => reject(new ClientLeft()));
        request.on("error", () => reject(new ClientLeft()));
    });
}

/** Return a valid `traceparent` and its trace id; `null` for both without one (W3C Trace Context, level 1, §3.2). */
function traceOf(request) {
    const given = headersOf(request, "traceparent");
    const match = given.length === 1 ? TRACEPARENT.exec(given[0]) : null;
    if (match === null) {
        return { traceparent: null, traceId: null };
    }
    const [traceparent, version, trace, parent, rest] = match;
    const isInvalid = version === "ff" || (version === "00" && rest !== undefined);
    const isEmpty = /^0+$/.test(trace) || /^0+$/.test(parent);
    return isInvalid || isEmpty ? { traceparent: null, traceId: null } : { traceparent, traceId: trace };
}

/** Return all values of a header; Node's own `headers` keeps the first one only. */
function headersOf(request, name) {
    const { rawHeaders } = request;
    return rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1].toLowerCase() === name);
}

/** Return the path of a request target, its segments decoded; "" for one that no route can have. */
function pathOf(target) {
    const [path] = target.replace(/^https?:\/\/[^/?]*/i, "").split("?");
    try {
        const segments = path.split("/").map(decodeURIComponent);
        return segments.some((segment) => segment.includes("/")) ? "" : segments.join("/");
    } catch {
        return "";
    }
}

/** Compared are hashes: they have one length, whatever was sent. */
function digestOf(text) {
    return createHash("sha256").update(text, "latin1").digest();
}

function sendJson(response, status, document) {
    send(response, { status, headers: {}, body: JSON.stringify(document) });
}

function withHeaders(failure, extraHeaders) {
    return Object.assign(failure, { extraHeaders });
}
