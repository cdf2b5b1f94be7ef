// JSON: one document, indented, or a line for each of many.
#include "sim/write/writer.hpp"

namespace moesim {

namespace {

class Json final : public Writer {
 public:
  Json() : Writer(Form::json) {}
  std::string write(const Told& told) const override {
    if (!told.json_lines) return write_json(told.json());
    std::string lines;
    told.json_lines([&](const Value& document) { lines += one_line(document) + "\n"; });
    return lines;
  }
};

}  // namespace

extern constexpr Entry<Writer> json_writer{
    "json", "JSON, or lines of it",
    [](Reader&) -> std::unique_ptr<const Writer> { return std::make_unique<Json>(); }};

}  // namespace moesim
