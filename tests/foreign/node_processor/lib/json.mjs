/**
 * I-JSON in (RFC 7493), canonical JSON out (RFC 8785).
 *
 * `JSON.parse` takes duplicate keys, lone surrogates and integers that it cannot hold, so two readers could see two
 * different requests. Objects made here have no prototype: a key may be called `__proto__`.
 */

const MAX_LEVELS = 64;

const WHITESPACE = /[ \t\n\r]*/y;
const PLAIN_CHARACTERS = /[^"\\\u0000-\u001f]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const FOUR_HEX = /[0-9a-fA-F]{4}/y;
const ESCAPES = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
const LITERALS = { t: ["true", true], f: ["false", false], n: ["null", null] };

/** The bytes are not I-JSON; the message is a rule and never quotes them. */
export class JsonError extends Error {}

/** Return the value that `bytes` spell, or throw `JsonError`. */
export function parse(bytes) {
    let text;
    try {
        // ignoreBOM keeps a BOM in the text, where it is no whitespace and so an error
        text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
        throw new JsonError("must be UTF-8");
    }
    return new Parser(text).document();
}

class Parser {
    constructor(text) {
        this.text = text;
        this.at = 0;
    }

    document() {
        this.match(WHITESPACE);
        const value = this.value(0);
        if (this.at !== this.text.length) {
            throw new JsonError("must be one JSON value");
        }
        return value;
    }

    /** Return the next value, and skip the whitespace behind it. `levels` containers are open around it. */
    value(levels) {
        const first = this.text[this.at];
        let value;
        if (first === "{" || first === "[") {
            if (levels === MAX_LEVELS) {
                throw new JsonError(`must have at most ${MAX_LEVELS} levels`);
            }
            value = first === "{" ? this.object(levels + 1) : this.array(levels + 1);
        } else if (first === '"') {
            value = this.string();
        } else if (first in LITERALS) {
            const [spelling, literal] = LITERALS[first];
            if (!this.text.startsWith(spelling, this.at)) {
                throw new JsonError("must be JSON");
            }
            this.at += spelling.length;
            value = literal;
        } else {
            value = this.number();
        }
        this.match(WHITESPACE);
        return value;
    }

    object(levels) {
        const object = Object.create(null);
        this.sequence("}", () => {
            if (this.text[this.at] !== '"') {
                throw new JsonError("must be JSON");
            }
            const key = this.string();
            if (key in object) {
                throw new JsonError("must not hold a key twice");
            }
            this.match(WHITESPACE);
            this.expect(":");
            object[key] = this.value(levels);
        });
        return object;
    }

    array(levels) {
        const array = [];
        this.sequence("]", () => array.push(this.value(levels)));
        return array;
    }

    sequence(end, item) {
        this.at += 1;
        this.match(WHITESPACE);
        if (this.text[this.at] === end) {
            this.at += 1;
            return;
        }
        for (;;) {
            item();
            if (this.text[this.at] === end) {
                this.at += 1;
                return;
            }
            this.expect(",");
        }
    }

    /** Skip `character`, which must come next, and the whitespace behind it. */
    expect(character) {
        if (this.text[this.at] !== character) {
            throw new JsonError("must be JSON");
        }
        this.at += 1;
        this.match(WHITESPACE);
    }

    string() {
        this.at += 1;
        let value = "";
        for (;;) {
            value += this.match(PLAIN_CHARACTERS)[0];
            const end = this.text[this.at];
            this.at += 1;
            if (end === '"') {
                break;
            }
            if (end !== "\\") {
                throw new JsonError("must be JSON"); // the end of the text, or a control character
            }
            value += this.escape();
        }
        if (!value.isWellFormed()) {
            throw new JsonError("must not hold a lone surrogate");
        }
        return value;
    }

    escape() {
        const letter = this.text[this.at];
        this.at += 1;
        if (letter === "u") {
            const digits = this.match(FOUR_HEX);
            if (digits !== null) {
                return String.fromCharCode(Number.parseInt(digits[0], 16));
            }
        } else if (letter in ESCAPES) {
            return ESCAPES[letter];
        }
        throw new JsonError("must be JSON");
    }

    number() {
        const found = this.match(NUMBER);
        if (found === null) {
            throw new JsonError("must be JSON");
        }
        const [spelling, fraction, exponent] = found;
        const value = Number(spelling);
        if (fraction === undefined && exponent === undefined && !Number.isSafeInteger(value)) {
            throw new JsonError("must hold integers within 2^53-1 only");
        }
        if (!Number.isFinite(value)) {
            throw new JsonError("must hold finite numbers only");
        }
        return value;
    }

    match(pattern) {
        pattern.lastIndex = this.at;
        const found = pattern.exec(this.text);
        if (found !== null) {
            this.at = pattern.lastIndex;
        }
        return found;
    }
}

/**
 * Return the canonical form of a parsed value. ECMAScript's own spelling of numbers and strings is RFC 8785's, and
 * its sort compares UTF-16 code units, as RFC 8785 §3.2.3 wants.
 */
export function canonical(value) {
    if (Array.isArray(value)) {
        return `[${value.map(canonical).join(",")}]`;
    }
    if (isObject(value)) {
        const members = Object.keys(value).sort();
        return `{${members.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
    }
    return JSON.stringify(value);
}

export function isObject(value) {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Return a key as a segment of a JSON pointer (RFC 6901). */
export function escapePointer(key) {
    return key.replaceAll("~", "~0").replaceAll("/", "~1");
}
