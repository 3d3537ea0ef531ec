/** The two kinds of HTTP requests that wait for an execution, and how they are answered (CONTRACT §1, §6). */

const REPLAYED = { "idempotent-replayed": "true" };
const HEARTBEAT_MS = 15_000;

/** Send one JSON answer. */
export function send(response, { status, headers, body }, more = {}) {
    if (response.headersSent || response.destroyed) {
        return;
    }
    response.writeHead(status, {
        "Content-Type": "application/json",
        "Content-Length": Buffer.byteLength(body),
        ...headers,
        ...more,
    });
    response.end(body);
}

/** A client of `/run`: it gets one envelope, and the run goes on if it goes away. */
export class RunCaller {
    streams = false;

    constructor(response) {
        this.response = response;
    }

    get gone() {
        return this.response.destroyed;
    }

    onGone() {}

    accepted() {}

    event() {}

    reply(answer, replayed) {
        send(this.response, answer, replayed ? REPLAYED : {});
    }
}

/**
 * A client of `/run-stream`. While it reads too slowly, token texts are joined and progress and log lines dropped;
 * outputs and the end wait for it.
 */
export class StreamCaller {
    streams = true;

    constructor(response, mask) {
        this.response = response;
        this.mask = mask;
        this.number = 0;
        this.behind = null; // the events that wait for a slow reader
        this.heartbeat = null;
        response.on("drain", () => this.#catchUp());
        response.on("close", () => clearInterval(this.heartbeat));
    }

    get gone() {
        return this.response.destroyed && !this.response.writableFinished;
    }

    onGone(left) {
        this.response.on("close", () => {
            if (this.gone) {
                left();
            }
        });
    }

    /** There will be a run: the stream begins. A refusal after that is its `done`. */
    accepted(joined) {
        if (this.gone) {
            return;
        }
        this.response.writeHead(200, {
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-cache",
            "X-Accel-Buffering": "no",
            ...(joined ? REPLAYED : {}),
        });
        this.response.flushHeaders();
        this.heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS);
    }

    event(name, data) {
        if (!this.response.headersSent || this.gone) {
            return; // not accepted yet, or nobody reads
        }
        if (this.behind === null) {
            this.#write(name, data);
        } else if (name === "output") {
            this.behind.push({ name, data });
        } else if (name === "token") {
            const last = this.behind.at(-1);
            if (last?.name === "token") {
                last.data.text += data.text;
            } else {
                this.behind.push({ name, data: { ...data } });
            }
        }
    }

    reply(answer, replayed) {
        if (!this.response.headersSent) {
            if (answer.isRefusal) {
                send(this.response, answer);
                return;
            }
            this.accepted(replayed);
        }
        clearInterval(this.heartbeat);
        if (!this.gone) {
            this.#catchUp({ toTheEnd: true });
            this.number += 1;
            this.response.end(frame(this.number, "done", answer.body));
        }
    }

    #write(name, data) {
        this.number += 1;
        const keepsUp = this.response.write(frame(this.number, name, JSON.stringify(this.mask.document(data))));
        this.behind = keepsUp ? null : [];
    }

    #catchUp({ toTheEnd = false } = {}) {
        const waiting = this.behind ?? [];
        this.behind = null;
        while (waiting.length > 0 && (toTheEnd || this.behind === null)) {
            const { name, data } = waiting.shift();
            this.#write(name, data);
        }
        if (waiting.length > 0) {
            this.behind = waiting;
        }
    }

    #beat() {
        if (this.behind === null) {
            this.response.write(": still here\n\n");
        }
    }
}

/** Return one event on the wire; `json` has no line break. */
function frame(number, name, json) {
    return `id: ${number}\nevent: ${name}\ndata: ${json}\n\n`;
}
