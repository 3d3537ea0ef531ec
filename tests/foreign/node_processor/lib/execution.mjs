/** One execution: from the moment it is known until its answer has left and its handler has ended. */

import { timestamp } from "./logs.mjs";

/**
 * It settles once: the first `decide` wins, whether result, deadline, cancel or drain.
 *
 * `stage` is `looking` (at the prefix), `awaiting` (another process that runs the same), `waiting` (in the queue),
 * `preparing` (the folder), `running` or `settling`. While somebody works on it asynchronously (`looking`, `awaiting`,
 * `preparing`), who decides leaves the settling to them.
 */
export class Execution {
    constructor(request, workspace, log) {
        this.request = request;
        this.workspace = workspace;
        this.key = keyOf(request);
        this.stage = "looking";
        this.whenLooked = []; // what waits to know whether this is a run at all
        this.callers = [];
        this.accepted = false;
        this.arrived = performance.now();
        this.started = null;
        this.startedAt = null;
        this.durationMs = null;
        this.decided = false;
        this.answered = false;
        this.error = null;
        this.extra = {};
        this.holdsSlot = false;
        this.overdue = false;
        this.worker = null;
        this.handlerEnded = true;
        this.files = Promise.resolve(); // the outputs are written one after the other
        this.timer = null;
        this.mirrored = [];
        const trace = request.traceId === null ? {} : { trace_id: request.traceId };
        this.log = log.bind({ execution_id: request.executionId, ...trace }, (record, line) => {
            this.emit("log", record);
            this.mirrored.push(line);
        });
    }

    /** Fix the outcome, a success without `error`; return whether this call was the first. */
    decide(error = null) {
        if (this.decided) {
            return false;
        }
        this.decided = true;
        this.error = error;
        if (this.started !== null) {
            this.durationMs = Math.round(performance.now() - this.started);
        }
        return true;
    }

    /** The handler starts now. */
    begin() {
        this.started = performance.now();
        this.startedAt = timestamp();
        const { mode, prefix, context } = this.request;
        this.log.event("http.run.start", { mode, write_prefix: prefix, context });
    }

    get queuedMs() {
        return Math.round(this.started - this.arrived);
    }

    get timeLeftMs() {
        return Math.max(0, this.request.timeoutMs - (performance.now() - this.arrived));
    }

    // --- callers: the first one asked for the run, the others joined it

    join(caller) {
        this.callers.push(caller);
        if (this.accepted) {
            caller.accepted(true);
        }
    }

    /** Tell those who stream that there will be a run. */
    accept() {
        if (!this.accepted) {
            this.accepted = true;
            this.callers.forEach((caller, index) => caller.accepted(index > 0));
        }
    }

    /** Whether nobody is left who wants the result: `/run` asks for it even when its client has gone. */
    get abandoned() {
        return this.callers.every((caller) => caller.streams && caller.gone);
    }

    /** Pass one event to the reader, if there is one; who joined gets `done` alone. */
    emit(name, data) {
        this.callers[0]?.event(name, { ...data, execution_id: this.request.executionId });
    }

    /** Give every caller its answer; a refusal that several share is a replay of nothing. */
    reply(answer, { replayed }) {
        this.callers.forEach((caller, index) => caller.reply(answer, !answer.isRefusal && (replayed || index > 0)));
    }
}

/** Return what makes two requests the same (CONTRACT §4), as text. */
export function keyOf({ executionId, mode, prefix, inputsSha256 }) {
    return JSON.stringify([executionId, mode, prefix, inputsSha256]);
}
