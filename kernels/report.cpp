#include "report.hpp"

#include <cstdio>
#include <ctime>

namespace measure {

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c < ' ' ? ' ' : c;
  }
  return result + '"';
}

std::string number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

std::string timing_keys(const Timing& timing) {
  return "\"time_s\": " + number(timing.seconds) + ", \"noise\": " + number(timing.noise) +
         ", \"samples\": " + std::to_string(timing.samples) + ", \"clock_mhz\": " + number(timing.clock_mhz);
}

std::string line_of(const Record& record, double best_rate, double bandwidth) {
  std::string text = "{" + keys_of(record.shape) + ", " + timing_keys(record.timing);
  const double flops = flops_of(record.shape);
  const double rate = flops > 0 ? flops / record.timing.seconds / best_rate
                                : bytes_of(record.shape) / record.timing.seconds / bandwidth;
  if (flops <= 0 ? bandwidth > 0 : best_rate > 0)
    text += std::string(flops > 0 ? ", \"share_of_best_product\": " : ", \"share_of_bandwidth\": ") +
            number(rate);
  text += ", \"method\": " + quoted(record.method);
  if (record.library_seconds > 0) text += ", \"library_time_s\": " + number(record.library_seconds);
  if (record.own_seconds > 0) text += ", \"own_time_s\": " + number(record.own_seconds);
  if (record.slower_is_rough) text += ", \"slower_is_rough\": true";
  return text + (record.held_out ? ", \"held_out\": true}" : "}");
}

std::string beside_line(const Beside& b) {
  std::string text = "{" + keys_of(b.shape) + ", " + timing_keys(b.timing) +
                     ", \"alone_s\": " + number(b.alone_seconds) + ", \"method\": " + quoted(b.method) +
                     ", \"communication\": " + quoted(b.communication) +
                     ", \"communication_sms\": " + std::to_string(b.communication_sms);
  if (b.bytes == 0)
    return text + ", \"rate\": " + number(b.rate) + ", \"alone_rate\": " + number(b.alone_rate) + "}";
  return text + ", \"urgent\": " + (b.urgent ? "true" : "false") +
         ", \"communication_bytes\": " + std::to_string(b.bytes) +
         ", \"round_s\": " + number(b.round_seconds) +
         ", \"alone_round_s\": " + number(b.alone_round_seconds) + "}";
}

std::string list(const std::string& name, const std::vector<std::string>& lines) {
  std::string text = "    " + quoted(name) + ": [";
  for (std::size_t i = 0; i < lines.size(); ++i) text += (i == 0 ? "\n      " : ",\n      ") + lines[i];
  return text + (lines.empty() ? "]" : "\n    ]");
}

namespace {

std::string part_line(const MixPart& part) {
  return "{" + keys_of(part.shape) + ", \"calls\": " + std::to_string(part.calls) +
         ", \"alone_s\": " + number(part.alone_seconds) + ", \"time_s\": " + number(part.seconds) + "}";
}

std::string mix_line(const Mix& mix) {
  std::string parts;
  for (const MixPart& part : mix.parts) parts += (parts.empty() ? "" : ", ") + part_line(part);
  return "{\"power_w\": " + number(mix.watts) + ", \"clock_mhz\": " + number(mix.clock_mhz) +
         ", \"pause_s\": " + number(mix.pause_seconds) + ", \"parts\": [" + parts + "]}";
}

}  // namespace

std::string power_lines(const PowerTimes& times) {
  if (times.mixes.empty()) return "";
  std::vector<std::string> lines;
  for (const Mix& mix : times.mixes) lines.push_back(mix_line(mix));
  return "    \"power\": {\"limit_w\": " + number(times.limit_watts) +
         ", \"idle_w\": " + number(times.idle_watts) + ", \"response_s\": " + number(times.response_seconds) +
         ",\n" + list("mixes", lines) + "},\n";
}

std::string now() {
  const std::time_t time = std::time(nullptr);
  char text[40];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&time));
  return text;
}

std::string facts_lines(const DeviceFacts& f, const Clocks& clocks) {
  const auto text = [](const char* key, const std::string& value) {
    return "    \"" + std::string(key) + "\": " + value + ",\n";
  };
  return text("device", quoted(f.name)) + text("uuid", quoted(f.uuid)) +
         text("compute_capability", quoted(std::to_string(f.major) + "." + std::to_string(f.minor))) +
         text("multiprocessors", std::to_string(f.multiprocessors)) +
         text("memory_bytes", std::to_string(f.memory)) + text("cache_bytes", std::to_string(f.cache)) +
         text("memory_bandwidth", number(f.memory_bandwidth)) +
         text("max_clock_mhz", std::to_string(f.max_clock_mhz)) +
         text("memory_clock_mhz", number(clocks.memory_mhz())) + text("driver", quoted(f.driver)) +
         text("cuda",
              quoted(std::to_string(f.runtime / 1000) + "." + std::to_string(f.runtime % 1000 / 10))) +
         text("cublaslt", std::to_string(cublasLtGetVersion())) +
         text("cudnn", std::to_string(AttentionLibrary::version())) +
         text("nccl", std::to_string(nccl_version()));
}

std::string block_line(const BlockTime& b) {
  std::string text = "{\"block\": " + quoted(b.block) + ", \"pass\": " + quoted(b.pass) +
                     ", \"tokens\": " + std::to_string(b.tokens) +
                     ", \"sequence\": " + std::to_string(b.sequence) +
                     (b.in_loop ? ", \"in_loop\": true, " : ", ") + timing_keys(b.timing) + ", \"ops\": [";
  for (std::size_t i = 0; i < b.shapes.size(); ++i)
    text += (i == 0 ? "{" : ", {") + keys_of(b.shapes[i]) + "}";
  return text + "]}";
}

std::string link_line(const Link& l) {
  return "{\"from\": " + std::to_string(l.from) + ", \"to\": " + std::to_string(l.to) +
         ", \"same_node\": " + (l.same_node ? "true" : "false") + ", \"way\": " + quoted(l.way) +
         ", \"bytes_per_second\": " + number(l.bytes_per_second) +
         ", \"both_ways_bytes_per_second\": " + number(l.both_ways) +
         ", \"latency_s\": " + number(l.latency) + "}";
}

std::string collective_line(const CollectiveTime& c) {
  return "{\"collective\": " + quoted(c.collective) + ", \"library\": " + quoted(c.library) +
         ", \"ranks\": " + std::to_string(c.ranks) + ", \"nodes\": " + std::to_string(c.nodes) +
         ", \"bytes\": " + std::to_string(c.bytes) + ", \"time_s\": " + number(c.seconds) +
         (c.library == "nccl" ? std::string(", \"nvls\": ") + (c.nvls ? "true" : "false") : "") +
         (c.held_out ? ", \"held_out\": true}" : "}");
}

}  // namespace measure
