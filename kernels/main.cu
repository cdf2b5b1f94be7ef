// moesim-measure: times of the operations of a mixture-of-experts block on the GPUs of this machine, as JSON.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>

#include "bench.hpp"
#include "block.hpp"
#include "grid.hpp"
#include "peers.hpp"
#include "selftest.hpp"

namespace measure {
namespace {

enum ExitCode { good = 0, failed = 1, wrong_input = 2, missing = 3, stopped = 130 };

constexpr const char* usage =
    "usage: moesim-measure [--out FILE] [--device N|all] [--quick] [--check] [--test] [--only TEXT]\n"
    "Measures what the operations of a mixture-of-experts block take on the GPUs of this machine.\n"
    "  --out FILE    where the measurements go, as JSON (default: standard output)\n"
    "  --device N    which GPU (default: 0), or all of them\n"
    "  --quick       a tenth of the shapes, in less than a minute (all: less than eight minutes)\n"
    "  --check       whole blocks instead, forward and backward, to hold predictions against\n"
    "  --test        holds every kernel to a reference on the host instead of timing it\n"
    "  --only TEXT   sections whose name holds TEXT; with --test, own: kernels of our own\n";

struct Options {
  std::string out = "-", only;
  int device = 0;
  bool all = false, quick = false, check = false, test = false;
  bool child = false;  ///< of moesim calibrate, which says itself what is missing
};

struct WrongInput : std::runtime_error {
  using std::runtime_error::runtime_error;
};

Options parse(int count, char** words) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    const auto value = [&] {
      if (i + 1 >= count) throw WrongInput(word + " needs a value");
      return std::string(words[++i]);
    };
    if (word == "--out")
      options.out = value();
    else if (word == "--only")
      options.only = value();
    else if (word == "--quick")
      options.quick = true;
    else if (word == "--check")
      options.check = true;
    else if (word == "--test")
      options.test = true;
    else if (word == "--child")
      options.child = true;
    else if (word == "--device") {
      const std::string which = value();
      options.all = which == "all";
      if (!options.all && which.find_first_not_of("0123456789") != std::string::npos)
        throw WrongInput("--device: is '" + which + "', expected a number or all");
      if (!options.all) options.device = std::atoi(which.c_str());
    } else if (word == "--help" || word == "-h") {
      std::fputs(usage, stdout);
      std::exit(good);
    } else {
      throw WrongInput("unknown option '" + word +
                       "' (known: --out, --device, --quick, --check, --test, --only)");
    }
  }
  return options;
}

/// How far it is, on a terminal; one line a section elsewhere.
class Progress {
 public:
  explicit Progress(std::size_t total) : total_(total), start_(std::time(nullptr)) {}
  void section(const std::string& name) {
    if (!terminal_)
      std::fprintf(stderr, "%4.0f s  %s\n", std::difftime(std::time(nullptr), start_), name.c_str());
    name_ = name;
  }
  void step() {
    ++done_;
    if (!terminal_) return;
    const double elapsed = std::difftime(std::time(nullptr), start_);
    const double left =
        elapsed / static_cast<double>(done_) * static_cast<double>(total_ - std::min(done_, total_));
    std::fprintf(stderr, "\r\033[K%s: %zu of %zu, about %.0f s left", name_.c_str(), done_, total_, left);
  }
  void finish() {
    std::fprintf(stderr, terminal_ ? "\r\033[K" : "%4.0f s  done\n",
                 std::difftime(std::time(nullptr), start_));
  }

 private:
  std::size_t total_, done_ = 0;
  std::time_t start_;
  std::string name_;
  bool terminal_ = isatty(STDERR_FILENO) != 0;
};

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
  if (record.communication_sms >= 0)
    text += ", \"communication_sms\": " + std::to_string(record.communication_sms) +
            (record.told ? ", \"told\": true" : "");
  return text + (record.held_out ? ", \"held_out\": true}" : "}");
}

std::string list(const std::string& name, const std::vector<std::string>& lines) {
  std::string text = "    " + quoted(name) + ": [";
  for (std::size_t i = 0; i < lines.size(); ++i) text += (i == 0 ? "\n      " : ",\n      ") + lines[i];
  return text + (lines.empty() ? "]" : "\n    ]");
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
         text("cudnn", std::to_string(AttentionLibrary::version()));
}

std::string block_line(const BlockTime& b) {
  std::string text = "{\"block\": " + quoted(b.block) + ", \"pass\": " + quoted(b.pass) +
                     ", \"tokens\": " + std::to_string(b.tokens) +
                     ", \"sequence\": " + std::to_string(b.sequence) + ", " + timing_keys(b.timing) +
                     ", \"ops\": [";
  for (std::size_t i = 0; i < b.shapes.size(); ++i)
    text += (i == 0 ? "{" : ", {") + keys_of(b.shapes[i]) + "}";
  return text + "]}";
}

bool holds(const std::string& text, const std::string& part) {
  return part.empty() || text.find(part) != std::string::npos;
}

/// All sections of one device as members of a JSON object.
std::string measure_grid(Bench& bench, const Options& options) {
  std::vector<Section> sections = grid();
  std::vector<Section> judging = held_out();
  if (options.quick) sections = thinned(sections, 10), judging = thinned(judging, 10);
  const std::vector<Shape> contended = contention_shapes();
  const std::vector<int> held =
      options.quick ? std::vector<int>{0, 8, 20, 48} : std::vector<int>{0, 4, 8, 12, 16, 20, 24, 32, 48, 64};
  std::size_t total = contended.size() * held.size();
  for (const std::vector<Section>* all : {&sections, &judging})
    for (const Section& section : *all)
      total += holds(section.name, options.only) ? section.shapes.size() : 0;
  Progress progress(total);
  std::string text;
  if (holds("launches", options.only)) {
    const LaunchTimes launches = measure_launches(bench.sampler());
    text += "    \"launches\": {\"stream_s\": " + number(launches.stream) +
            ", \"graph_s\": " + number(launches.graph) + ", \"host_s\": " + number(launches.host) + "},\n";
  }
  for (const std::vector<Section>* all : {&sections, &judging}) {
    for (const Section& section : *all) {
      if (!holds(section.name, options.only)) continue;
      progress.section(section.name);
      for (const Shape& shape : section.shapes) bench.measure(shape, all == &judging), progress.step();
    }
  }
  if (holds("contention", options.only)) {
    progress.section("contention");
    for (const Shape& shape : contended) {
      for (const int count : held) {
        bench.measure_contention(shape, count, false);
        if (count > 0 && shape.op == "gemm") bench.measure_contention(shape, count, true);
        progress.step();
      }
    }
  }
  progress.finish();
  double best_rate = 0, bandwidth = bench.facts().memory_bandwidth;
  for (const Record& r : bench.records())
    best_rate = std::max(best_rate, r.shape.precision == "fp8" ? 0 : flops_of(r.shape) / r.timing.seconds);
  std::vector<std::string> measured, contention;
  for (const Record& r : bench.records())
    (r.communication_sms >= 0 ? contention : measured).push_back(line_of(r, best_rate, bandwidth));
  text += list("measurements", measured) + ",\n" + list("contention", contention) + ",\n";
  if (holds("host copies", options.only)) {
    std::vector<std::string> lines;
    for (const HostCopy& c : measure_host_copies(bench.stream(), options.quick))
      lines.push_back("{\"bytes\": " + std::to_string(c.bytes) + ", \"to_device_s\": " + number(c.to_device) +
                      ", \"to_host_s\": " + number(c.to_host) + "}");
    text += list("host_copies", lines) + ",\n";
  }
  return text;
}

std::string measure_blocks(Bench& bench, const Options& options) {
  std::vector<std::string> lines;
  const std::vector<Int> sizes = options.quick ? std::vector<Int>{2048} : std::vector<Int>{2048, 4096, 8192};
  Progress progress(known_blocks().size() * sizes.size());
  for (const BlockShape& shape : known_blocks()) {
    progress.section("block of " + shape.name);
    for (const Int tokens : sizes) {
      try {
        for (const BlockTime& time : measure_block(bench, shape, tokens, std::min<Int>(tokens, 4096)))
          lines.push_back(block_line(time));
      } catch (const OutOfMemory&) {
        bench.note("left out, device memory is too small: " + shape.name + " with " + std::to_string(tokens) +
                   " tokens");
      } catch (const NotOffered& error) {
        bench.note(shape.name + ": " + error.what());
      }
      progress.step();
    }
  }
  progress.finish();
  return list("blocks", lines) + ",\n";
}

std::string measure_device(int device, const Options& options) {
  check(cudaSetDevice(device), "cudaSetDevice");
  const DeviceFacts facts = facts_of(device);
  Patience patience;
  if (options.quick)
    patience = {.warm_seconds = 0.008, .sample_seconds = 0.002, .least_seconds = 0.012, .most_seconds = 0.04};
  Bench bench(facts, patience, options.quick || options.check);
  const std::string started = now();
  std::string text = options.check ? measure_blocks(bench, options) : measure_grid(bench, options);
  const PeerTimes peers = options.check ? PeerTimes{} : measure_peers(options.quick);
  std::vector<std::string> links, collectives, notes;
  for (const Link& l : peers.links)
    links.push_back("{\"from\": " + std::to_string(l.from) + ", \"to\": " + std::to_string(l.to) +
                    ", \"direct\": " + (l.direct ? "true" : "false") + ", \"bytes_per_second\": " +
                    number(l.bytes_per_second) + ", \"latency_s\": " + number(l.latency) + "}");
  for (const CollectiveTime& c : peers.collectives)
    collectives.push_back(
        "{\"collective\": " + quoted(c.collective) + ", \"ranks\": " + std::to_string(c.ranks) +
        ", \"bytes\": " + std::to_string(c.bytes) + ", \"time_s\": " + number(c.seconds) + "}");
  for (const std::string& note : bench.notes()) notes.push_back(quoted(note));
  for (const std::string& note : peers.notes) notes.push_back(quoted(note));
  text += list("links", links) + ",\n" + list("collectives", collectives) + ",\n" +
          list("not_measured", notes) + "\n";
  return "  {\n" + facts_lines(facts, bench.clocks()) + "    \"started\": " + quoted(started) +
         ",\n    \"finished\": " + quoted(now()) + ",\n" + text + "  }";
}

/// Whole or not at all: a file beside it, then a rename.
void write(const std::string& path, const std::string& text) {
  if (path == "-") {
    std::fwrite(text.data(), 1, text.size(), stdout);
    return;
  }
  const std::string part = path + ".part";
  {
    std::ofstream file(part, std::ios::binary);
    file << text;
    if (!file.good()) throw WrongInput("--out: cannot write " + path);
  }
  if (std::rename(part.c_str(), path.c_str()) != 0) throw WrongInput("--out: cannot write " + path);
}

int run(int count, char** words) {
  const Options options = parse(count, words);
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    if (!options.child) std::fputs("error: there is no GPU that CUDA can use on this machine\n", stderr);
    return missing;
  }
  if (options.device >= devices)
    throw WrongInput("--device: is " + std::to_string(options.device) + ", expected 0 to " +
                     std::to_string(devices - 1));
  watch_interrupts();
  if (options.test) {
    check(cudaSetDevice(options.device), "cudaSetDevice");
    return self_test(options.only == "own") ? good : failed;
  }
  std::string text = "{\"schema\": \"moesim.measurements/1\",\n \"mode\": " +
                     std::string(options.check   ? "\"check\""
                                 : options.quick ? "\"quick\""
                                                 : "\"full\"") +
                     ",\n \"devices\": [\n";
  for (int device = 0; device < devices; ++device) {
    if (!options.all && device != options.device) continue;
    text += (text.back() == '}' ? ",\n" : "") + measure_device(device, options);
  }
  write(options.out, text + "\n]}\n");
  return good;
}

}  // namespace
}  // namespace measure

int main(int count, char** words) {
  try {
    return measure::run(count, words);
  } catch (const measure::Interrupted&) {
    std::fputs("\ninterrupted: nothing was written\n", stderr);
    return measure::stopped;
  } catch (const measure::WrongInput& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return measure::wrong_input;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return measure::failed;
  }
}
