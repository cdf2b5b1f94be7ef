// moesim-measure: times of the operations of a mixture-of-experts block on the GPUs of this machine, as JSON.
#include <cstdio>
#include <fstream>

#include "bench.hpp"
#include "block.hpp"
#include "contention.hpp"
#include "grid.hpp"
#include "late.hpp"
#include "options.hpp"
#include "peers.hpp"
#include "power.hpp"
#include "progress.hpp"
#include "report.hpp"
#include "selftest.hpp"

namespace measure {
namespace {

enum ExitCode { good = 0, failed = 1, wrong_input = 2, missing = 3, stopped = 130 };

/// The sections that are measured of one device.
struct Plan {
  std::vector<Section> sections, judging;
};

/// What is measured between devices, which stands with the first.
struct Between {
  PeerTimes peers;
  std::vector<Beside> contention;
};

Plan plan_of(const Options& options) {
  Plan plan{.sections = grid(), .judging = held_out()};
  if (options.quick) {
    plan.sections = thinned(plan.sections, 10), plan.judging = thinned(plan.judging, 10);
  }
  const auto is_left = [&](const Section& section) { return !holds(section.name, options.only); };
  std::erase_if(plan.sections, is_left), std::erase_if(plan.judging, is_left);
  return plan;
}

void measure_plan(Bench& bench, const Plan& plan) {
  std::size_t total = 0;
  for (const std::vector<Section>* all : {&plan.sections, &plan.judging})
    for (const Section& section : *all) total += section.shapes.size();
  Progress progress(total);
  for (const std::vector<Section>* all : {&plan.sections, &plan.judging}) {
    for (const Section& section : *all) {
      progress.section(section.name);
      for (const Shape& shape : section.shapes) bench.measure(shape, all == &plan.judging), progress.step();
    }
  }
  progress.finish();
}

std::string records_text(const Bench& bench) {
  double best_rate = 0;
  for (const Record& r : bench.records())
    best_rate = std::max(best_rate, r.shape.precision == "fp8" ? 0 : flops_of(r.shape) / r.timing.seconds);
  std::vector<std::string> lines;
  for (const Record& r : bench.records())
    lines.push_back(line_of(r, best_rate, bench.facts().memory_bandwidth));
  return list("measurements", lines) + ",\n";
}

/// All sections of one device as members of a JSON object.
std::string measure_grid(Bench& bench, const Options& options, const std::vector<Beside>& between) {
  std::string text;
  if (holds("launches", options.only)) {
    const LaunchTimes launches = measure_launches(bench.sampler());
    text += "    \"launches\": {\"stream_s\": " + number(launches.stream) +
            ", \"graph_s\": " + number(launches.graph) + ", \"host_s\": " + number(launches.host) + "},\n";
  }
  measure_plan(bench, plan_of(options));
  text += records_text(bench);
  std::vector<std::string> contention;
  if (holds("contention", options.only))
    for (const Beside& beside : measure_contention(bench, options.quick))
      contention.push_back(beside_line(beside));
  for (const Beside& beside : between) contention.push_back(beside_line(beside));
  text += list("contention", contention) + ",\n";
  if (holds("power", options.only)) text += power_lines(measure_power(bench, options.quick));
  if (!holds("host copies", options.only)) return text;
  std::vector<std::string> lines;
  for (const HostCopy& c : measure_host_copies(bench.stream(), options.quick))
    lines.push_back("{\"bytes\": " + std::to_string(c.bytes) + ", \"to_device_s\": " + number(c.to_device) +
                    ", \"to_host_s\": " + number(c.to_host) + "}");
  return text + list("host_copies", lines) + ",\n";
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

std::string measure_device(int device, const Options& options, const Between& between) {
  const PeerTimes& peers = between.peers;
  check(cudaSetDevice(device), "cudaSetDevice");
  const DeviceFacts facts = facts_of(device);
  Patience patience;
  if (options.quick)
    patience = {.warm_seconds = 0.001, .sample_seconds = 0.001, .least_seconds = 0.004, .most_seconds = 0.02};
  Bench bench(facts, patience, options.quick || options.check);
  const std::string started = now();
  std::string text =
      options.check ? measure_blocks(bench, options) : measure_grid(bench, options, between.contention);
  std::vector<std::string> links, collectives, notes;
  for (const Link& link : peers.links) links.push_back(link_line(link));
  for (const CollectiveTime& time : peers.collectives) collectives.push_back(collective_line(time));
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

/// All devices that are asked for, as a measurements file. What is between them is measured once, and stands
/// with the first.
std::string measure_all(const Options& options, const Processes& processes, int devices) {
  std::string text = "{\"schema\": \"moesim.measurements/1\",\n \"mode\": " +
                     std::string(options.check   ? "\"check\""
                                 : options.quick ? "\"quick\""
                                                 : "\"full\"") +
                     ",\n \"devices\": [\n";
  Between between;
  if (!options.check && holds("links and collectives", options.only))
    between.peers = measure_peers(processes, options.quick);
  if (!options.check && holds("contention", options.only))
    between.contention = measure_contention_between(processes, options.quick, between.peers.notes);
  if (processes.rank() > 0) return {};
  for (int device = 0; device < devices; ++device) {
    if (!options.all && device != options.device) continue;
    text += (text.back() == '}' ? ",\n" : "") + measure_device(device, options, between);
    between = {};
  }
  return text + "\n]}\n";
}

/// What was built in but has no library here.
void say_missing() {
  for (const auto& [what, why] :
       {std::pair{"attention", why_no_cudnn()}, {"NCCL's collectives", why_no_nccl()}})
    if (!why.empty()) std::fprintf(stderr, "note: %s cannot be measured: %s\n", what, why.c_str());
}

int run(int count, char** words) {
  const Options options = parse(count, words);
  const Processes processes(options.mpi);
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    if (!options.child) std::fputs("error: there is no GPU that CUDA can use on this machine\n", stderr);
    return missing;
  }
  if (options.device >= devices)
    throw WrongInput("--device: is " + std::to_string(options.device) + ", expected 0 to " +
                     std::to_string(devices - 1));
  watch_interrupts();
  if (!options.child && processes.rank() == 0) say_missing();
  if (options.test) {
    check(cudaSetDevice(options.device), "cudaSetDevice");
    return self_test(options.only == "own") ? good : failed;
  }
  try {
    const std::string text = measure_all(options, processes, devices);
    if (processes.rank() == 0) write(options.out, text);
  } catch (const std::exception& error) {
    if (processes.count() == 1) throw;
    std::fprintf(stderr, "error: rank %d: %s\n", processes.rank(), error.what());
    processes.abandon(failed);  // the others would wait for this one
  }
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
  } catch (const measure::Missing& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return measure::missing;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return measure::failed;
  }
}
