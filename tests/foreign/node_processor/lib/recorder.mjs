/** What happened, as it is told: envelopes, and the evidence in the run's folder (CONTRACT §3, §4). */

import { Failure } from "./errors.mjs";
import { timestamp } from "./logs.mjs";

export class Recorder {
    constructor({ registry, settings, mask, log }) {
        this.mask = mask;
        this.log = log;
        this.meta = {
            ref: registry.ref,
            env_fingerprint: registry.env_fingerprint,
            image_digest: settings.digest,
            pinned: settings.pinned,
        };
    }

    // --- no run

    /** Return the answer to a request that is no run, and log why. */
    refusal(failure, executionId = "") {
        const id = executionId === "" ? {} : { execution_id: executionId };
        const { code, message, details } = failure;
        this.log.event("http.run.error", { ...id, reason: code, message, details }, "warning");
        return this.#answer(failure, this.#errorEnvelope(failure, executionId, this.meta), { isRefusal: true });
    }

    /** Return the answer to a request over which we stumbled. */
    fault(error, executionId = "") {
        const id = executionId === "" ? {} : { execution_id: executionId };
        this.log.event("http.internal.error", { ...id, exception: error.stack }, "error");
        const failure = new Failure("ERR_INTERNAL");
        return this.#answer(failure, this.#errorEnvelope(failure, executionId, this.meta), { isRefusal: true });
    }

    // --- a run

    /** Write index, receipt and mirror of a decided execution; return its answer. */
    async settle(execution, lockKey) {
        const finishedAt = timestamp();
        const envelope = await this.#record(execution, lockKey, finishedAt);
        const { error, durationMs: duration_ms } = execution;
        const outcome = error === null ? { status: "success" } : { status: "error", code: error.code };
        execution.log.event("http.run.settle", { ...outcome, duration_ms }, error === null ? "info" : "warning");
        if (execution.workspace.lock !== null) {
            await execution.workspace.mirror(execution.mirrored.join(""));
        }
        return this.#answer(error, envelope, { isRefusal: false });
    }

    /** Whether `receipt` is of the same request to the same image. */
    isSame(receipt, { executionId, mode, prefix, inputsSha256 }) {
        const { ref, image_digest } = this.meta;
        return (
            receipt.ref === ref &&
            receipt.image_digest === image_digest &&
            receipt.execution_id === executionId &&
            receipt.mode === mode &&
            receipt.write_prefix === this.mask.text(prefix) && // as a receipt has it
            receipt.inputs_sha256 === inputsSha256
        );
    }

    async #record(execution, lockKey, finishedAt) {
        const { workspace } = execution;
        try {
            if (!(await this.#owns(execution, lockKey))) {
                return this.#envelope(execution);
            }
            await workspace.forget();
            workspace.sortRows();
            if (execution.error === null) {
                const index = { execution_id: execution.request.executionId, outputs: workspace.rows };
                await workspace.writeIndex(this.mask.document(index));
            }
            const envelope = this.#envelope(execution);
            await workspace.writeReceipt(this.#receipt(execution, envelope, finishedAt));
            return envelope;
        } catch (error) {
            execution.log.event("storage.error", { errno: error.errno, exception: error.stack }, "error");
            execution.error ??= error instanceof Failure ? error : new Failure("ERR_INTERNAL");
            const envelope = this.#envelope(execution);
            try {
                await workspace.forget(); // an index without a receipt would promise outputs
                await workspace.writeReceipt(this.#receipt(execution, envelope, finishedAt));
            } catch {
                execution.log.event("http.run.unrecorded", {}, "error");
            }
            return envelope;
        }
    }

    /**
     * Whether this run may write its receipt: it has the prefix, or it ended before it took it and can have it now.
     * Not if another process is at work there, or has left something that is not a failed attempt of the same.
     */
    async #owns(execution, lockKey) {
        const { workspace, request } = execution;
        if (workspace.lock !== null) {
            return true;
        }
        await workspace.open({ make: true });
        if (!(await workspace.acquire(lockKey))) {
            return false;
        }
        const receipt = await workspace.receipt();
        return receipt === null || (this.isSame(receipt, request) && receipt.envelope?.status !== "success");
    }

    #envelope(execution) {
        const { request, error, workspace, durationMs } = execution;
        const meta = { ...this.meta };
        if (durationMs !== null) {
            Object.assign(meta, { queued_ms: execution.queuedMs, duration_ms: durationMs });
        }
        if (error !== null) {
            return this.#errorEnvelope(error, request.executionId, meta);
        }
        return this.mask.document({
            status: "success",
            execution_id: request.executionId,
            outputs: workspace.rows,
            index_path: `${request.prefix}outputs.json`,
            meta: { ...meta, extra: execution.extra },
        });
    }

    #errorEnvelope(failure, executionId, meta) {
        const { code, message, retryable, details } = failure;
        const error = { code, message, retryable, details };
        return this.mask.document({ status: "error", execution_id: executionId, error, meta });
    }

    #receipt(execution, envelope, finishedAt) {
        const { request, workspace } = execution;
        return this.mask.document({
            contract: "v1",
            ref: this.meta.ref,
            execution_id: request.executionId,
            mode: request.mode,
            write_prefix: request.prefix,
            inputs_sha256: request.inputsSha256,
            context: request.context,
            image_digest: this.meta.image_digest,
            env_fingerprint: this.meta.env_fingerprint,
            outputs: workspace.rows,
            started_at: execution.startedAt,
            finished_at: finishedAt,
            duration_ms: execution.durationMs,
            trace_id: request.traceId,
            envelope,
        });
    }

    #answer(failure, envelope, { isRefusal }) {
        const { status, headers } = failure ?? { status: 200, headers: {} };
        return { status, headers, body: JSON.stringify(envelope), isRefusal };
    }
}
