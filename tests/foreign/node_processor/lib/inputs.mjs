/** The inputs schema of registry.yaml, judged by hand: Node has no JSON Schema validator of its own. */

import { escapePointer, isObject } from "./json.mjs";

const BEHAVIOURS = [
    ...["echo", "slow", "spin", "block", "stream", "flood", "noisy", "reveal", "fail", "refuse", "blame"],
    ...["escape", "duplicate", "missing", "undeclared"],
];
const MAX_DELAY_MS = 20_000;

const isString = [(value) => typeof value === "string", "must be a string"];

const SHAPE = object(["schema", "params"], {
    schema: is((value) => value === "v1", 'must be "v1"'),
    params: object(["text"], {
        text: is(...isString),
        behaviour: is((value) => BEHAVIOURS.includes(value), `must be one of ${BEHAVIOURS.join(", ")}`),
        delay_ms: is(
            (value) => Number.isInteger(value) && value >= 0 && value <= MAX_DELAY_MS,
            `must be an integer from 0 to ${MAX_DELAY_MS}`,
        ),
        file: object(["$artifact", "sha256"], { $artifact: is(...isString), sha256: is(...isString) }),
    }),
});

/** Return what `inputs` break of the schema, as details: where and which rule. An empty list is a valid one. */
export function validate(inputs) {
    return inputs === undefined ? [{ path: "/inputs", message: "required" }] : SHAPE(inputs, "/inputs");
}

function is(holds, rule) {
    return (value, path) => (holds(value) ? [] : [{ path, message: rule }]);
}

function object(required, properties) {
    return (value, path) => {
        if (!isObject(value)) {
            return [{ path, message: "must be an object" }];
        }
        const missing = required.filter((key) => !(key in value));
        const unknown = Object.keys(value).filter((key) => !Object.hasOwn(properties, key));
        return [
            ...missing.map((key) => ({ path: `${path}/${key}`, message: "required" })),
            ...unknown.map((key) => ({ path: `${path}/${escapePointer(key)}`, message: "unknown" })),
            ...Object.keys(properties)
                .filter((key) => key in value)
                .flatMap((key) => properties[key](value[key], `${path}/${key}`)),
        ];
    };
}
