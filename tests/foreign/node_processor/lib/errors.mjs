/** The one table of failures (CONTRACT §5). */

const MAX_DETAILS = 20;
const MAX_CHARACTERS = 256;

// code: [status, message]; a few codes have more than one of either, and say so where they are raised
const TABLE = {
    ERR_INPUTS: [400, "inputs not usable"],
    ERR_MODE_INVALID: [400, "mode must be mock or real and served here"],
    ERR_WRITE_PREFIX: [400, "write_prefix not allowed"],
    ERR_REF_MISMATCH: [400, "this image serves another ref"],
    ERR_UNAUTHORIZED: [401, "missing or wrong token"],
    ERR_CI_SAFETY: [403, "mode=real is blocked in CI"],
    ERR_NOT_FOUND: [404, "not found"],
    ERR_METHOD: [405, "method not allowed"],
    ERR_EXECUTION_CONFLICT: [409, "execution_id or write_prefix already used"],
    ERR_BUSY: [429, "busy"],
    ERR_CANCELLED: [499, "cancelled"],
    ERR_RUNTIME: [500, "handler failed"],
    ERR_INTERNAL: [500, "internal error"],
    ERR_SETUP: [500, "set-up failed"],
    ERR_IMAGE_DIGEST_MISSING: [500, "IMAGE_DIGEST env var not set"],
    ERR_MISSING_SECRET: [500, "required secret not set"],
    ERR_OUTPUT_PATH: [500, "output path not allowed"],
    ERR_OUTPUT_DUPLICATE: [500, "output written twice"],
    ERR_OUTPUT_MISSING: [500, "declared output not written"],
    ERR_OUTPUT_UNDECLARED: [500, "output not declared"],
    ERR_PROVIDER: [502, "provider failed"],
    ERR_DRAINING: [503, "shutting down"],
    ERR_TIMEOUT: [504, "deadline passed"],
    ERR_STORAGE: [507, "cannot write artifacts"],
};

const RETRYABLE = new Set(["ERR_BUSY", "ERR_DRAINING", "ERR_STORAGE"]);
const TOLD_WHEN_TO_COME_BACK = new Set(["ERR_BUSY", "ERR_DRAINING"]);
const RETRY_AFTER_S = 1;

/** A failure that is answered with an error envelope. `details` name paths and rules, never values. */
export class Failure extends Error {
    constructor(code, { message, status, details = [], retryable = RETRYABLE.has(code) } = {}) {
        super(message ?? TABLE[code][1]);
        this.code = code;
        this.status = status ?? TABLE[code][0];
        this.retryable = retryable;
        this.details = details
            .slice(0, MAX_DETAILS)
            .map((detail) => ({ path: clip(detail.path), message: clip(detail.message) }));
    }

    get headers() {
        return TOLD_WHEN_TO_COME_BACK.has(this.code) ? { "Retry-After": String(RETRY_AFTER_S) } : {};
    }

    /** What crosses a thread boundary, where a class does not; `Failure.from` is its other half. */
    plain() {
        const { code, message, status, details, retryable } = this;
        return { code, message, status, details, retryable };
    }

    static from({ code, ...rest }) {
        return new Failure(code, rest);
    }
}

/** The HTTP status that an envelope had when it left, in whichever process that was. */
export function statusOf(envelope) {
    return envelope.status === "success" ? 200 : (TABLE[envelope.error?.code]?.[0] ?? 500);
}

/** An `ERR_INPUTS` of the request rules: its message says which row of §2, its detail where and why. */
export function inputsFailure(message, path, rule, status = 400) {
    return new Failure("ERR_INPUTS", { message, status, details: [{ path, message: rule }] });
}

function clip(text) {
    return text.length <= MAX_CHARACTERS ? text : text.slice(0, MAX_CHARACTERS - 1).toWellFormed() + "…";
}
