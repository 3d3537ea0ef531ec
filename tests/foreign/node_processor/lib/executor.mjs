/** Who is in flight, who waits and who runs (CONTRACT §4, §5). All of it in one thread: nothing here needs a lock. */

import { close } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { Failure, statusOf } from "./errors.mjs";
import { Execution } from "./execution.mjs";
import { HandlerThreads } from "./threads.mjs";
import { Workspace } from "./workspace.mjs";

const LOOK_AGAIN_MS = 25;

export class Executor {
    constructor({ registry, settings, secrets, setUp, recorder, log }) {
        Object.assign(this, { registry, settings, secrets, setUp, recorder, log });
        this.concurrency = registry.runtime.concurrency;
        this.threads = new HandlerThreads(this.concurrency);
        this.byId = new Map();
        this.byPrefix = new Map();
        this.waiting = [];
        this.slotsTaken = 0;
        this.overdue = 0;
        this.draining = false;
        this.whenDrained = null;
        setUp.finished = () => this.#dispatch();
    }

    /** Whether every slot is held by a handler past its deadline. */
    get stuck() {
        return this.overdue >= this.concurrency;
    }

    /** Run `request`, join what runs, or refuse; `caller` gets exactly one reply. */
    submit(request, caller) {
        const known = this.byPrefix.get(request.prefix) ?? this.byId.get(request.executionId);
        const execution = new Execution(request, this.#workspaceOf(request), this.log);
        const failure = this.#inTheWay(known, execution.key);
        if (failure?.code === "ERR_EXECUTION_CONFLICT" && known.stage === "looking") {
            known.whenLooked.push(() => this.submit(request, caller)); // it may turn out to be no run
        } else if (failure !== null) {
            closeFile(request);
            caller.reply(this.recorder.refusal(failure, request.executionId), false);
        } else if (known !== undefined) {
            closeFile(request);
            caller.onGone(() => this.#callerLeft(known));
            known.join(caller);
        } else {
            this.byPrefix.set(request.prefix, execution);
            this.byId.set(request.executionId, execution);
            caller.onGone(() => this.#callerLeft(execution));
            execution.join(caller);
            this.#guarded(execution, () => this.#enter(execution));
        }
    }

    /** Ask for the end of an execution; return whether one is queued or running under that id. */
    cancel(executionId) {
        const execution = this.byId.get(executionId);
        if (execution === undefined || execution.answered) {
            return false;
        }
        this.#stop(execution, new Failure("ERR_CANCELLED"));
        return true;
    }

    /** Take no new runs; return when all in flight have their answers, which they get after `graceMs` at the latest. */
    async drain() {
        this.draining = true;
        const { graceMs } = this.settings;
        this.log.event("service.draining", { in_flight: this.byId.size, grace_s: graceMs / 1000 });
        const drained = new Promise((resolve) => {
            this.whenDrained = resolve;
        });
        const details = [{ path: "", message: "the service shuts down" }];
        const over = setTimeout(() => {
            this.byId.forEach((execution) => this.#stop(execution, new Failure("ERR_CANCELLED", { details })));
        }, graceMs);
        this.#checkDrained();
        await drained;
        clearTimeout(over);
    }

    // --- admit: draining, sameness, free places, in this order

    #inTheWay(known, key) {
        if (this.draining) {
            return new Failure("ERR_DRAINING");
        }
        if (known === undefined) {
            return null;
        }
        if (known.key !== key) {
            return new Failure("ERR_EXECUTION_CONFLICT");
        }
        return known.answered ? new Failure("ERR_BUSY") : null; // it has settled, but its handler still runs
    }

    #workspaceOf({ prefix, place }) {
        return new Workspace(prefix, place, this.registry.outputs);
    }

    /** Look at the prefix, then take a slot, wait for one, or refuse. */
    async #enter(execution) {
        execution.stage = "looking";
        let stored = null;
        let refusal = null;
        try {
            stored = await this.#lookUntilFree(execution);
        } catch (error) {
            refusal = error;
        }
        if (refusal !== null) {
            this.#refuse(execution, refusal);
        } else if (stored !== null) {
            this.#replay(execution, stored);
        } else if (execution.decided) {
            await this.#settle(execution);
        } else {
            this.#place(execution);
        }
        this.#looked(execution);
    }

    /** It is known whether `execution` is a run: those who would be in its way can be told. */
    #looked(execution) {
        execution.whenLooked.splice(0).forEach((step) => step());
    }

    /**
     * Return the stored envelope where the same request has been answered, or `null` where a run may begin. While
     * another process works on the same request, wait for its envelope, whatever that says.
     */
    async #lookUntilFree(execution) {
        let awaited = false;
        for (;;) {
            // another folder each time: the one that a run uses must not be opened before it is its own
            const folder = this.#workspaceOf(execution.request);
            try {
                if (!(await folder.open({ make: false }))) {
                    return null;
                }
                const holder = await folder.holder();
                if (holder === null) {
                    return await this.#stored(execution, folder, { awaited });
                }
                if (holder.key !== undefined && holder.key !== this.#lockKey(execution)) {
                    throw new Failure("ERR_EXECUTION_CONFLICT");
                }
                awaited = true;
                execution.stage = "awaiting";
                this.#looked(execution);
            } finally {
                await folder.close();
            }
            await sleep(LOOK_AGAIN_MS);
            if (execution.decided) {
                return null;
            }
        }
    }

    async #stored(execution, folder, { awaited }) {
        const receipt = await folder.receipt();
        if (receipt === null) {
            return null;
        }
        if (!this.recorder.isSame(receipt, execution.request)) {
            throw new Failure("ERR_EXECUTION_CONFLICT");
        }
        const { envelope = {} } = receipt;
        const isThere = envelope.status === "success" && (await folder.holds(envelope.outputs ?? []));
        return isThere || (awaited && envelope.status !== undefined) ? envelope : null;
    }

    #lockKey(execution) {
        return JSON.stringify([this.registry.ref, this.settings.digest, execution.key]);
    }

    #place(execution) {
        if (execution.request.mode === "real" && this.setUp.begin() === "failed") {
            this.#refuse(execution, new Failure("ERR_SETUP"));
        } else if (this.#mayStart(execution)) {
            execution.accept();
            this.#start(execution);
        } else if (this.waiting.length >= this.settings.queue) {
            this.#refuse(execution, new Failure("ERR_BUSY"));
        } else {
            execution.stage = "waiting";
            this.waiting.push(execution);
            execution.timer = setTimeout(() => this.#waitedTooLong(execution), execution.timeLeftMs);
            execution.accept();
        }
    }

    #mayStart({ request }) {
        return this.slotsTaken < this.concurrency && (request.mode === "mock" || this.setUp.state === "ready");
    }

    #waitedTooLong(execution) {
        this.#unqueue(execution);
        this.#refuse(execution, new Failure("ERR_BUSY"));
    }

    #unqueue(execution) {
        clearTimeout(execution.timer);
        this.waiting = this.waiting.filter((other) => other !== execution);
    }

    /** Start as many of those who wait as there are slots; end those whose set-up failed. */
    #dispatch() {
        for (const execution of this.waiting) {
            if (this.#mayStart(execution)) {
                this.#unqueue(execution);
                this.#start(execution);
            } else if (execution.request.mode === "real" && this.setUp.state === "failed") {
                this.#stop(execution, new Failure("ERR_SETUP"));
            }
        }
    }

    // --- run

    #start(execution) {
        execution.stage = "preparing";
        execution.holdsSlot = true;
        this.slotsTaken += 1;
        this.#guarded(execution, () => this.#prepare(execution));
    }

    /** Make the folder and lock it. What others did there meanwhile is looked at again under the lock. */
    async #prepare(execution) {
        const { workspace } = execution;
        let stored = null;
        try {
            await workspace.open({ make: true });
            if (!(await workspace.acquire(this.#lockKey(execution)))) {
                await workspace.close();
                this.#giveSlotBack(execution);
                await this.#enter(execution);
                return;
            }
            stored = await this.#stored(execution, workspace, { awaited: false });
            if (stored === null) {
                await workspace.forget();
            }
        } catch (error) {
            if (error.code === "ERR_EXECUTION_CONFLICT") {
                await workspace.close();
                this.#refuse(execution, error);
                return;
            }
            execution.decide(this.#failureOf(error, execution));
        }
        if (stored !== null) {
            await workspace.close();
            this.#replay(execution, stored);
        } else if (execution.decided) {
            await this.#settle(execution);
        } else {
            this.#launch(execution);
        }
    }

    /** Run the handler in a thread of its own, which ends with the run: nothing less stops a loop that never yields. */
    #launch(execution) {
        execution.stage = "running";
        execution.handlerEnded = false;
        const { worker, ready } = this.threads.take();
        execution.worker = worker;
        ready.then(() => this.#begin(execution));
        worker.on("message", (message) => this.#heard(execution, message));
        worker.once("error", (error) => this.#handlerFailed(execution, { exception: error.stack ?? String(error) }));
        worker.once("exit", () => this.#handlerGone(execution));
    }

    #begin(execution) {
        if (execution.decided) {
            return;
        }
        const { request, worker } = execution;
        const isReal = request.mode === "real";
        execution.begin();
        execution.timer = setTimeout(() => this.#stop(execution, new Failure("ERR_TIMEOUT")), request.timeoutMs);
        worker.postMessage({
            mode: request.mode,
            params: request.params,
            file: request.file,
            traceparent: request.traceparent,
            secrets: isReal ? this.secrets : {},
            resource: isReal ? this.setUp.resource : null,
        });
    }

    #heard(execution, { kind, ...message }) {
        if (execution.decided) {
            if (kind === "end" || kind === "failed") {
                execution.log.event("http.run.late", {}, "warning");
            }
        } else if (kind === "ready") {
            // heard by whoever took the thread before it was
        } else if (kind === "log") {
            execution.log.event(`handler.${message.event}`, message.fields);
        } else if (kind === "output") {
            this.#inOrder(execution, () => this.#writeOutput(execution, message));
        } else if (kind === "end") {
            execution.handlerEnded = true;
            execution.extra = message.extra;
            this.#inOrder(execution, () => this.#finish(execution));
        } else if (kind === "failed") {
            execution.handlerEnded = true;
            this.#inOrder(execution, () => this.#handlerFailed(execution, message));
        } else {
            execution.emit(kind, message); // progress, token
        }
    }

    /** Do `step` after what the handler said before, unless the run has settled by then. */
    #inOrder(execution, step) {
        execution.files = execution.files.then(() => this.#guarded(execution, () => !execution.decided && step()));
    }

    async #writeOutput(execution, { path, data }) {
        try {
            const row = await execution.workspace.writeOutput(path, data, () => !execution.decided);
            if (row !== null && !execution.decided) {
                execution.emit("output", row);
            }
        } catch (error) {
            this.#stop(execution, this.#failureOf(error, execution));
        }
    }

    #finish(execution) {
        const missing = execution.workspace.missing();
        const details = missing.map(({ path }) => ({ path, message: "not written" }));
        this.#stop(execution, missing.length > 0 ? new Failure("ERR_OUTPUT_MISSING", { details }) : null);
    }

    /** The handler threw: its caller learns of what it blames on others, the log of everything. */
    #handlerFailed(execution, { blamed = null, exception }) {
        if (!execution.decided) {
            execution.log.event("handler.error", { exception }, "error");
            this.#stop(execution, blamed === null ? new Failure("ERR_RUNTIME") : Failure.from(blamed));
        }
    }

    #handlerGone(execution) {
        const endedByItself = execution.handlerEnded;
        execution.handlerEnded = true;
        if (!endedByItself && !execution.decided) {
            this.#handlerFailed(execution, { exception: "the handler's thread ended without a result" });
        }
        if (execution.overdue) {
            execution.overdue = false;
            this.overdue -= 1;
        }
        if (execution.answered) {
            this.#retire(execution);
        }
    }

    // --- settle

    /** Settle with `error`, or as a success, unless the outcome is decided. Nobody waits for the handler. */
    #stop(execution, error) {
        if (!execution.decide(error)) {
            return;
        }
        clearTimeout(execution.timer);
        if (error?.code === "ERR_TIMEOUT" && !execution.handlerEnded) {
            execution.overdue = true;
            this.overdue += 1;
        }
        if (execution.stage === "waiting" || execution.stage === "running") {
            this.#unqueue(execution);
            this.#guarded(execution, () => this.#settle(execution));
        }
    }

    async #settle(execution) {
        execution.stage = "settling";
        execution.worker?.terminate();
        await execution.files; // the write that was under way ends, and the others do not begin
        const answer = await this.recorder.settle(execution, this.#lockKey(execution));
        await execution.workspace.close();
        this.#answer(execution, answer, { replayed: false });
    }

    #replay(execution, envelope) {
        execution.log.event("http.run.replay");
        const answer = { status: statusOf(envelope), body: JSON.stringify(envelope), headers: {}, isRefusal: false };
        this.#answer(execution, answer, { replayed: true });
    }

    /** End an execution that never was a run: it has written nothing. */
    #refuse(execution, error) {
        const failure = this.#failureOf(error, execution);
        execution.decide(failure);
        const answer = this.recorder.refusal(failure, execution.request.executionId);
        this.#answer(execution, answer, { replayed: false });
    }

    /** Give every caller `answer`; before that, whatever their next request needs is free again. */
    #answer(execution, answer, { replayed }) {
        clearTimeout(execution.timer);
        execution.answered = true;
        if (execution.handlerEnded) {
            this.#retire(execution);
        }
        execution.reply(answer, { replayed });
        this.#checkDrained();
    }

    /** Forget an execution that is answered and whose handler has ended. */
    #retire(execution) {
        const { request } = execution;
        if (this.byId.get(request.executionId) !== execution) {
            return;
        }
        this.byId.delete(request.executionId);
        this.byPrefix.delete(request.prefix);
        closeFile(request);
        this.#giveSlotBack(execution);
    }

    #giveSlotBack(execution) {
        if (execution.holdsSlot) {
            execution.holdsSlot = false;
            this.slotsTaken -= 1;
            this.#dispatch();
        }
    }

    #callerLeft(execution) {
        if (!execution.answered && execution.abandoned) {
            const details = [{ path: "", message: "the last reader left" }];
            this.#stop(execution, new Failure("ERR_CANCELLED", { details }));
        }
    }

    #checkDrained() {
        if (this.whenDrained !== null && [...this.byId.values()].every((execution) => execution.answered)) {
            this.whenDrained();
        }
    }

    /** Do `step`; a fault of ours must not leave the callers without an answer. */
    async #guarded(execution, step) {
        try {
            await step();
        } catch (error) {
            execution.worker?.terminate();
            await execution.workspace.close();
            execution.decide(new Failure("ERR_INTERNAL"));
            const answer = this.recorder.fault(error, execution.request.executionId);
            if (!execution.answered) {
                this.#answer(execution, answer, { replayed: false });
            }
        }
    }

    #failureOf(error, execution) {
        if (error instanceof Failure) {
            if (error.errno !== undefined) {
                execution.log.event("storage.error", { errno: error.errno }, "error");
            }
            return error;
        }
        execution.log.event("http.internal.error", { exception: error.stack }, "error");
        return new Failure("ERR_INTERNAL");
    }
}

/** Close the file that a request refers to; nobody needs it any more. */
function closeFile(request) {
    if (request.file !== null) {
        close(request.file.fd, () => {});
        request.file = null;
    }
}
