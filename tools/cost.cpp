// moesim cost DEVICE OP KEY=VALUE...: the predicted time of one op, or of many (--batch).
#include <fmt/format.h>

#include <memory>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "models/config/document.hpp"
#include "models/config/values.hpp"
#include "models/cost/calibrated.hpp"
#include "models/cost/op_line.hpp"
#include "models/cost/roofline.hpp"
#include "tools/command.hpp"

namespace moesim {
namespace {

struct CostOptions {
  std::string device, op, batch, format = "text", out = "-";
  std::vector<std::string> keys;
};

/// A device with the model that answers for it: a device file has the roofline, a calibration its own.
struct Answering {
  Device device;
  std::unique_ptr<const Cost> cost;
};

Answering open(const std::string& path, const SeesFiles& check) {
  const Value document = load_document(path);
  if (check) check(files_needed(document));
  Reader reader(document, "");
  if (document.find("schema") == nullptr) return {read_device(reader), make_roofline()};
  const Calibration calibration = read_calibration(reader);
  return {calibration.device, make_calibrated(calibration)};
}

Value number(double value) { return value_of(std::stod(fmt::format("{:.6g}", value))); }

/// Sizes that take longer than anything that is simulated are wrong input.
OpTime time_of(const Op& op, const Answering& answering, std::int64_t sms, const Reader& reader) {
  try {
    return answering.cost->time(op, answering.device, sms);
  } catch (const RunError& error) {
    reader.fail("", error.what());
  }
}

/// The question with its answer added.
Value answered(const Answering& answering, const Value& question, const std::string& where) {
  Reader reader(question, where);
  const std::vector<Op> ops = read_ops(reader);
  const std::int64_t sms = reader.integer({.name = "communication_sms",
                                           .help = "multiprocessors held by communication meanwhile",
                                           .fallback = 0,
                                           .at_least = 0,
                                           .at_most = answering.device.multiprocessors - 1});
  reader.finish();
  OpTime longest;
  double seconds = 0, flops = 0, bytes = 0;
  bool extrapolated = false;
  for (const Op& op : ops) {
    const OpTime time = time_of(op, answering, sms, reader);
    if (time.time > longest.time) longest = time;
    seconds += to_seconds(time.time);
    flops += op.flops.count;
    bytes += static_cast<double>(op.bytes.count);
    extrapolated = extrapolated || time.extrapolated;
  }
  Value answer = question;
  answer.set("time_s", number(seconds));
  answer.set("flops", number(flops));
  answer.set("bytes", number(bytes));
  answer.set("bound_by", value_of(at(bound_names, longest.bound)));
  if (extrapolated) answer.set("extrapolated", value_of(true));
  return answer;
}

std::string answer_batch(const CostOptions& options, const Answering& answering) {
  const std::string all = read_file(options.batch);
  std::string answers;
  std::size_t line_number = 0;
  for (std::size_t start = 0; start < all.size();) {
    const std::size_t end = std::min(all.find('\n', start), all.size());
    const std::string line = all.substr(start, end - start);
    start = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string origin = fmt::format("{}:{}", options.batch, line_number);
    answers += print(answered(answering, parse_json(line, origin), ""), all.max_size()) + "\n";
  }
  return answers;
}

/// An answer in a sentence.
std::string sentence(const CostOptions& options, const Answering& answering, const Value& answer) {
  const double flops = answer.find("flops")->number, seconds = answer.find("time_s")->number,
               bytes = answer.find("bytes")->number;
  std::string line =
      fmt::format("{} on {}: {}, bound by {}, {:.4g} TFLOPS, {:.4g} GB/s\n", options.op,
                  answering.device.name, print(from_seconds(seconds)), answer.find("bound_by")->text,
                  flops / seconds / 1e12, bytes / seconds / 1e9);
  if (answer.find("extrapolated") != nullptr)
    line += "extrapolated: this shape is far from all that were measured\n";
  return line;
}

std::string answer_one(const CostOptions& options, const Answering& answering) {
  Value question = empty_object("moesim cost");
  question.set("op", value_of(options.op));
  for (const std::string& key : options.keys) {
    Override change = parse_override(key);
    question.set(change.key, std::move(change.value));
  }
  const Value answer = answered(answering, question, "");
  return write({.text = [&] { return sentence(options, answering, answer); },
                .json_lines = [&](const auto& take) { take(answer); }},
               options.format);
}

void ask(const CostOptions& options) {
  if (options.op.empty() == options.batch.empty())
    throw InputError("moesim cost", "expected either OP KEY=VALUE... or --batch FILE");
  const SeesFiles check = output_check({.inputs = {{"DEVICE", options.device}, {"--batch", options.batch}},
                                        .outputs = {{"--out", options.out}}});
  const Answering answering = open(options.device, check);
  write_file(options.out,
             options.batch.empty() ? answer_one(options, answering) : answer_batch(options, answering));
}

}  // namespace

void add_cost_command(CLI::App& app) {
  auto options = std::make_shared<CostOptions>();
  CLI::App* command =
      app.add_subcommand("cost", "predict the time of one op on a device or calibration file");
  command->add_option("DEVICE", options->device, "device file or calibration")->required();
  command->add_option("OP", options->op,
                      "gemm, grouped_gemm, attention, rms_norm, swiglu, router, permute, unpermute, copy");
  command->add_option("KEY=VALUE", options->keys, "sizes of the op");
  command->add_option("--batch", options->batch, "many ops: JSON lines (-: standard input)");
  add_format_option(*command, options->format, {Form::text, Form::json});
  command->add_option("--out", options->out, "file to write to (-: standard output)");
  command->callback([options] { ask(*options); });
}

}  // namespace moesim
