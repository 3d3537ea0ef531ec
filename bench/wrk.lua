-- Sends one request after another, each with an execution id of its own, and says the outcome as one line of JSON.
-- wrk -s wrk.lua URL -- FILE TAG: FILE holds the whole request, @EXECUTION-ID--@ where the id stands.

local PLACE = "@EXECUTION-ID--@"
local parts, number, tag = {}, 0, ""

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local text = file:read("*a")
  file:close()
  tag = args[2]
  local at = 1
  while true do
    local first, last = text:find(PLACE, at, true)
    if not first then break end
    parts[#parts + 1] = text:sub(at, first - 1)
    at = last + 1
  end
  parts[#parts + 1] = text:sub(at)
end

function request()
  number = number + 1
  return table.concat(parts, string.format("%s%06d", tag, number))
end

function done(summary, latency, requests)
  local line = '{"seconds": %.6f, "requests": %d, "status": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d, '
    .. '"p50_us": %d, "p90_us": %d, "p99_us": %d, "max_us": %d}\n'
  local errors = summary.errors
  io.write(line:format(summary.duration / 1e6, summary.requests, errors.status, errors.connect, errors.read,
    errors.write, errors.timeout, latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
end
