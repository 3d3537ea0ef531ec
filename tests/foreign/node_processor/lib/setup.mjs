/** Set-up: what `real` needs and takes long to make. It runs once, beside everything else (CONTRACT §1). */

import { scrypt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const KEY_BYTES = 32;

/** `state` is `idle`, `starting`, `ready` or `failed`; `resource` is the key that real runs sign with. */
export class SetUp {
    /** `plan` says how long it takes and whether it fails: a test may want to see either. */
    constructor(plan, secret, salt, log) {
        this.plan = plan;
        this.secret = secret;
        this.salt = salt;
        this.log = log;
        this.state = "idle";
        this.resource = null;
        this.finished = () => {};
    }

    /** Start it unless it began before; return the state. */
    begin() {
        if (this.state === "idle") {
            this.state = "starting";
            this.#work();
        }
        return this.state;
    }

    async #work() {
        try {
            await sleep(this.plan.takesMs);
            if (this.plan.fails) {
                throw new Error("FOREIGN_SETUP says so");
            }
            this.resource = await promisify(scrypt)(this.secret, this.salt, KEY_BYTES);
            this.state = "ready";
            this.log.event("setup.ok");
        } catch (error) {
            this.state = "failed";
            this.log.event("setup.error", { exception: error.stack }, "error");
        }
        this.finished();
    }
}
