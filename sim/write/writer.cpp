// The register of writers.
#include "sim/write/writer.hpp"

#include <algorithm>

#include "models/base/error.hpp"
#include "models/config/values.hpp"

namespace moesim {

extern const Entry<Writer> text_writer;
extern const Entry<Writer> json_writer;
extern const Entry<Writer> csv_writer;
extern const Entry<Writer> dot_writer;
extern const Entry<Writer> trace_writer;
extern const Entry<Writer> html_writer;
extern const Entry<Writer> steps_writer;

namespace {

constinit const Entry<Writer>* const members[] = {&text_writer,  &json_writer, &csv_writer,  &dot_writer,
                                                  &trace_writer, &html_writer, &steps_writer};

/// Writers have no keys.
std::unique_ptr<const Writer> make(const Entry<Writer>& member) {
  const Value no_keys = empty_object();
  Reader reader(no_keys, "");
  return member.make(reader);
}

const Entry<Writer>& member(std::string_view format) {
  const auto found = std::find_if(std::begin(members), std::end(members),
                                  [&](const Entry<Writer>* one) { return one->name == format; });
  ensure(found != std::end(members), "the format is registered");
  return **found;
}

}  // namespace

Register<Writer> writers() { return members; }

std::vector<std::string> formats(std::initializer_list<Form> forms) {
  std::vector<std::string> names;
  for (const Form form : forms) {
    for (const Entry<Writer>* one : members) {
      if (make(*one)->form() == form) names.emplace_back(one->name);
    }
  }
  return names;
}

std::string_view sentence_of(std::string_view format) { return member(format).sentence; }

std::string write(const Told& told, std::string_view format) { return make(member(format))->write(told); }

}  // namespace moesim
